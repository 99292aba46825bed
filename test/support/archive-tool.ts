/** `bun archive-tool.ts tree DIR | tar DIR FILE`: makes the torture tree, or its archive, in a process of its own: as another user. */
import fs from "node:fs";
import { KiB } from "#base/units.ts";
import { readFiles } from "./archive-kit.ts";
import { makeWholeTree } from "./torture-tree.ts";

const [command, directory = "", file = ""] = process.argv.slice(2);
if (command === "tree") {
  console.log(JSON.stringify(makeWholeTree(directory)));
} else {
  const { tar, problems } = readFiles([directory], { chunkBytes: 256 * KiB });
  fs.writeFileSync(file, tar);
  console.log(JSON.stringify({ problems }));
}

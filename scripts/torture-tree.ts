/** `bun scripts/torture-tree.ts DIR`: makes the tree that the end-to-end tests back up, as root with all that only root can make. */
import { mkdirSync } from "node:fs";
import path from "node:path";
import { makeWholeTree } from "#test/support/torture-tree.ts";
import { runMain, Sentence } from "./lib/run.ts";

function main(): number {
  const [directory, ...more] = process.argv.slice(2);
  if (directory === undefined || more.length > 0) throw new Sentence("Name one directory, which must not exist yet.");
  const target = path.resolve(directory);
  mkdirSync(target);
  const { noAttributes } = makeWholeTree(target);
  console.log(`Made ${target}.`);
  if (noAttributes !== undefined)
    console.log(`It has no extended attributes and access control lists: ${noAttributes}`);
  return 0;
}

await runMain(() => Promise.resolve(main()));

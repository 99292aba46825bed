/**
 * The tree that the end-to-end tests back up, to make and look at; as root with all that only root can make.
 *
 *     bun scripts/torture-tree.ts DIR             makes the tree in DIR, which must not exist
 *     bun scripts/torture-tree.ts --tar DIR FILE  writes DIR's archive, as the agent would, without compressing it
 *
 * Prints one line of JSON.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB } from "#base/units.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { makeWholeTree } from "#test/support/torture-tree.ts";
import { runMain, Sentence } from "./lib/run.ts";

/** Small, so that the tree has many chunks. */
const CHUNK_BYTES = 256 * KiB;

function main(): number {
  const [first, second, third, ...more] = process.argv.slice(2);
  if (first === "--tar" && second !== undefined && third !== undefined && more.length === 0) {
    const { tar, problems } = readFiles([path.resolve(second)], { chunkBytes: CHUNK_BYTES });
    writeFileSync(third, tar);
    console.log(JSON.stringify({ problems }));
    return 0;
  }
  if (first === undefined || first.startsWith("-") || second !== undefined) {
    throw new Sentence("Give DIR, a directory that does not exist yet; or --tar DIR FILE.");
  }
  const target = path.resolve(first);
  mkdirSync(target);
  console.log(JSON.stringify(makeWholeTree(target)));
  return 0;
}

await runMain(() => Promise.resolve(main()));

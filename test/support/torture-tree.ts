/**
 * The tree that end-to-end tests back up: the torture tree, and beside it what only whole runs can show: files around the
 * borders of chunks, holes, extended attributes and access control lists, hard links of everything that can have them, a
 * socket, and times at the ends of what tar can hold. `bun scripts/torture-tree.ts DIR` makes one to look at.
 */
import fs from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import { attributesProblem, makeAttributes } from "#test/support/torture-attributes.ts";
import { makeSparse } from "#test/support/torture-sparse.ts";
import { isRoot, makeTortureTree, patternBytes, run } from "#test/support/tree.ts";

/** The size the tests ask for, so that a small tree has many chunks. */
const CHUNK_BYTES = 256 * KiB;

/** Sizes at which the cutter decides differently: half a chunk, whole chunks, the defaults of gzip and zstd. */
const BORDER_SIZES = [CHUNK_BYTES / 2, CHUNK_BYTES, 2 * CHUNK_BYTES, MiB / 2, MiB, 4 * MiB].flatMap((bytes) => [
  bytes - 512,
  bytes - 1,
  bytes,
  bytes + 1,
]);

export interface WholeTree {
  /** Why it has no extended attributes and access control lists; undefined when it has. */
  readonly noAttributes: string | undefined;
}

/** Makes the tree in `directory`; the socket in it is named `special/socket`. */
export function makeWholeTree(directory: string): WholeTree {
  makeTortureTree(directory);
  const noAttributes = attributesProblem(directory);
  if (noAttributes === undefined) makeAttributes(directory);
  makeSparse(directory);
  makeMoreLinks(directory);
  const at = (name: string): string => path.join(directory, name);
  fs.mkdirSync(at("borders"));
  for (const bytes of BORDER_SIZES) fs.writeFileSync(at(`borders/${bytes}`), patternBytes(bytes, bytes));
  fs.writeFileSync(at("borders/incompressible"), crypto.getRandomValues(new Uint8Array(64 * KiB)));
  fs.mkdirSync(at("far times"));
  for (const time of ["1960-02-29T12:00:00Z", "2300-12-31T23:59:59.999999999Z"]) {
    fs.writeFileSync(at(`far times/${time}`), time);
    run("touch", ["-d", time, at(`far times/${time}`)]);
  }
  makeSocket(at("special/socket"));
  // What was made here changed it.
  run("touch", ["-d", "@1234567890.987654321", directory]);
  return { noAttributes };
}

/** Second names of what is no file, and a file with a name in every one of many directories. */
function makeMoreLinks(directory: string): void {
  const at = (name: string): string => path.join(directory, name);
  fs.mkdirSync(at("more links"));
  fs.writeFileSync(at("more links/everywhere"), patternBytes(300_000, 5));
  for (let i = 0; i < 40; i += 1) {
    fs.mkdirSync(at(`more links/${i}`));
    fs.linkSync(at("more links/everywhere"), at(`more links/${i}/again`));
  }
  const special = ["links/dangling", "special/fifo", ...(isRoot ? ["special/char", "special/block"] : [])];
  for (const name of special) run("ln", ["-P", at(name), at(`more links/${path.basename(name)}`)]);
}

/** A socket that nobody listens on: Bun removes the one it made, so it has another name by then. */
function makeSocket(file: string): void {
  const listener = Bun.listen({ unix: `${file}.tmp`, socket: { data: () => undefined } });
  fs.renameSync(`${file}.tmp`, file);
  listener.stop(true);
}

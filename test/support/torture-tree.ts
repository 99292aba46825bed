/**
 * The tree that end-to-end tests back up: the torture tree, and beside it what only whole runs can show: files around the
 * borders of chunks, a socket, and times at the ends of what tar can hold.
 */
import fs from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import { makeTortureTree, patternBytes, run } from "#test/support/tree.ts";

/** The size the tests ask for, so that a small tree has many chunks. */
const CHUNK_BYTES = 256 * KiB;

/** Sizes at which the cutter decides differently: half a chunk, whole chunks, the defaults of gzip and zstd. */
const BORDER_SIZES = [CHUNK_BYTES / 2, CHUNK_BYTES, 2 * CHUNK_BYTES, MiB / 2, MiB, 4 * MiB].flatMap((bytes) => [
  bytes - 512,
  bytes - 1,
  bytes,
  bytes + 1,
]);

/** Makes the tree in `directory`; the socket in it is named `special/socket`. */
export async function makeWholeTree(directory: string): Promise<void> {
  makeTortureTree(directory);
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
}

/** A socket that nobody listens on: Bun removes the one it made, so it has another name by then. */
function makeSocket(file: string): void {
  const listener = Bun.listen({ unix: `${file}.tmp`, socket: { data: () => undefined } });
  fs.renameSync(`${file}.tmp`, file);
  listener.stop(true);
}

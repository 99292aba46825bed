/** A source of 1 GB for tests of long backups: half of it cannot be compressed, half of it is text. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";

const FILES = 8;
const FILE_BYTES = 128 * MiB;
const PART_BYTES = 16 * MiB;
export const GIGABYTE = FILES * FILE_BYTES;

export function makeGigabyte(directory: string): void {
  mkdirSync(directory);
  const line = (i: number): string => `${i} ${Math.imul(i, 2_654_435_761) >>> 0} the quick brown fox jumps over\n`;
  const text = Buffer.from(Array.from({ length: 400_000 }, (_, i) => line(i)).join("")).subarray(0, PART_BYTES);
  for (let file = 0; file < FILES; file += 1) {
    const name = path.join(directory, `file-${file}`);
    for (let part = 0; part < FILE_BYTES / PART_BYTES; part += 1) {
      writeFileSync(name, file % 2 === 0 ? text : randomBytes(PART_BYTES), { flag: "a" });
    }
  }
}

/** As many as wanted; the system gives them in pieces. */
export function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 64 * KiB) crypto.getRandomValues(bytes.subarray(at, at + 64 * KiB));
  return bytes;
}

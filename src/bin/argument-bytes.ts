/** The bytes of this process's arguments: what is not UTF-8 in them is lost in their text, and names of files need not be UTF-8. */
import { readFileSync } from "node:fs";
import { errnoName } from "#base/errors.ts";

const REPLACEMENT = "\ufffd";

/** Of an argument as it stands in process.argv. Of two that differ only in such bytes the first one's. */
export function argumentBytes(text: string): Uint8Array {
  if (!text.includes(REPLACEMENT)) return Buffer.from(text);
  return rawArguments().find((bytes) => bytes.toString("utf8") === text) ?? Buffer.from(text);
}

function rawArguments(): readonly Buffer[] {
  let all: Buffer;
  try {
    all = readFileSync("/proc/self/cmdline");
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return [];
  }
  const found: Buffer[] = [];
  for (let at = 0; at < all.length;) {
    const end = all.indexOf(0, at);
    const stop = end < 0 ? all.length : end;
    found.push(all.subarray(at, stop));
    at = stop + 1;
  }
  return found;
}

/** The last look at a part file before its archive is committed: it must be as long as the proof says. */
import { Failure } from "#base/errors.ts";
import type { DiskFile } from "./disk.ts";

/**
 * What stands behind the end (of a chunk that was given up and never came again) is cut off; a part that is too short has
 * lost what the disk had taken, which is E_DISK.
 */
export async function fitLength(part: DiskFile, number: number, expected: number): Promise<void> {
  const size = await part.size();
  if (size < expected) {
    throw new Failure("E_DISK", `file ${number} has ${size} bytes on the disk, expected ${expected}`);
  }
  if (size === expected) return;
  await part.truncate(expected);
  await part.fdatasync();
}

/** Ways to judge an archive without threads: by its checksum alone, or as the programs do it. */
import { createHash } from "node:crypto";
import { isLostBytes } from "#base/errors.ts";
import type { VerifyArchive } from "#server/verifier.ts";

const READ_BYTES = 64 * 1024;

/** Reads all of it, and compares the SHA-256 with the one beside it. */
export const compareSum: VerifyArchive = async ({ archive, sha256 }, { signal, onStart }) => {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(READ_BYTES);
  let read = 0;
  onStart(() => read);
  try {
    while (read < archive.size && !signal.aborted) {
      const length = await archive.read(buffer, read);
      if (length === 0) break;
      hash.update(buffer.subarray(0, length));
      read += length;
    }
  } catch (error) {
    if (!isLostBytes(error)) throw error;
    return { finding: { ok: false, what: "the disk cannot read it", details: [`byte ${read}`] } };
  }
  if (hash.digest("hex") === sha256) return { finding: { ok: true } };
  return { finding: { ok: false, what: "its SHA-256 is not the one beside it", details: [] } };
};

/** Holds every verification until it is let go. */
export function held(): { readonly verify: VerifyArchive; readonly go: () => void; readonly begun: () => number } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let begun = 0;
  const verify: VerifyArchive = async (wanted, task) => {
    begun += 1;
    const stopped = new Promise<void>((stop) => task.signal.addEventListener("abort", () => stop(), { once: true }));
    await Promise.race([promise, stopped]);
    return await compareSum(wanted, task);
  };
  return { verify, go: resolve, begun: () => begun };
}

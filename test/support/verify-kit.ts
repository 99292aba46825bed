/** Archives that are verified: a session that leaves one, damage to it, and ways to judge it without threads. */
import { createHash } from "node:crypto";
import { isLostBytes } from "#base/errors.ts";
import type { VerifyArchive } from "#server/verifier.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import type { OpenSession, ServerWorld } from "#test/support/server-world.ts";

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

/** A session whose archive is committed and still to be verified. */
export async function commit(w: ServerWorld): Promise<OpenSession> {
  const session = await w.session();
  const chunks = makeChunks(2, 400);
  for (const chunk of chunks) session.link.data(chunk, { generation: 1 });
  session.link.send("finish", finishOf(chunks), 1);
  const { verify } = await w.wait(session.link.expect("committed"));
  if (verify !== "pending") throw new Error(`the archive is not to be verified: ${verify}`);
  return session;
}

/** Flips a bit of an archive on the disk. */
export async function spoil(disk: MemoryDisk, archive: string): Promise<void> {
  const file = await disk.open(`/srv/backups/${archive}`, "read-write");
  const byte = new Uint8Array(1);
  await file.read(byte, 100);
  await file.write(Uint8Array.of((byte[0] ?? 0) ^ 1), 100);
  await file.close();
}

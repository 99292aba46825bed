/** An index that lies where archives lie, as its reader wants it. What the disk cannot read of it is damage to the index, and to nothing else. */
import type { ByteSource } from "#archive/index-blocks.ts";
import { indexDamaged } from "#archive/index-bytes.ts";
import { isLostBytes } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";

export function indexSource(access: ArchiveAccess): ByteSource {
  return { size: access.size, read: (offset, length) => readExactly(access, offset, length) };
}

async function readExactly(access: ArchiveAccess, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let got = 0;
  try {
    got = await access.read(bytes, offset);
  } catch (error) {
    if (!isLostBytes(error)) throw error;
    throw indexDamaged(`the disk cannot read the index at ${offset}`);
  }
  if (got < length) throw indexDamaged(`the index ends at ${offset + got}, before its end`);
  return bytes;
}

/** An index that lies where archives lie, as its reader wants it. */
import type { ByteSource } from "#archive/index-blocks.ts";
import { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";

export function indexSource(access: ArchiveAccess): ByteSource {
  return {
    size: access.size,
    read: async (offset, length) => {
      const bytes = new Uint8Array(length);
      // It was longer when it was opened.
      if ((await access.read(bytes, offset)) !== length) {
        throw new Failure("E_INDEX_DAMAGED", `the index has no ${length} bytes at ${offset}`);
      }
      return bytes;
    },
  };
}

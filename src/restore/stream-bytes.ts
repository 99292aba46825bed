/**
 * The tar stream of an archive that cannot be taken apart: one long gzip member, zstd frames of unknown length, or no compression. Given
 * out in pieces of a size that does not depend on what it decompresses to, as fast as they are taken and no faster.
 */
import { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { errnoName, isLostBytes } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import type { PieceFault, StreamRest } from "./piece.ts";

/** Ends a stream that is broken: nothing behind the place can be decompressed. */
export class StreamFault extends Error {
  readonly fault: PieceFault;
  /** Up to about where the archive was read. */
  readonly offset: number;

  constructor(fault: PieceFault, offset: number) {
    super(`the compressed stream is ${fault}`);
    this.name = "StreamFault";
    this.fault = fault;
    this.offset = offset;
  }
}

const READ_BYTES = 256 * KiB;
const OUTPUT_BYTES = MiB / 2;

/** `onRead` gets the stored bytes in order, for their checksum. Throws StreamFault. */
export async function* streamBytes(
  access: ArchiveAccess,
  { mode, streamFrom }: StreamRest,
  onRead: (stored: Uint8Array, offset: number) => void,
): AsyncGenerator<Uint8Array> {
  const place = { offset: streamFrom };
  const stored = readAll(access, place, onRead);
  if (mode === "plain") {
    yield* stored;
    return;
  }
  const options = { chunkSize: OUTPUT_BYTES };
  const inflate = mode === "gzip" ? createGunzip(options) : createZstdDecompress(options);
  const source = Readable.from(stored, { objectMode: false, highWaterMark: READ_BYTES });
  source.on("error", (error) => inflate.destroy(error));
  source.pipe(inflate);
  try {
    for await (const bytes of inflate) yield bytes as Uint8Array;
  } catch (error) {
    throw faultOf(error, place.offset, place.offset >= access.size);
  } finally {
    source.destroy();
    inflate.destroy();
  }
}

/** Errors that are neither the disk's nor the decompressor's stay what they are. */
function faultOf(error: unknown, offset: number, atEnd: boolean): unknown {
  const code = errnoName(error);
  if (error instanceof StreamFault || code === undefined) return error;
  if (isLostBytes(error)) return new StreamFault("unreadable", offset);
  return new StreamFault(code === "Z_BUF_ERROR" && atEnd ? "missing" : "damaged", offset);
}

async function* readAll(
  access: ArchiveAccess,
  place: { offset: number },
  onRead: (stored: Uint8Array, offset: number) => void,
): AsyncGenerator<Uint8Array> {
  while (place.offset < access.size) {
    // A buffer of its own: the decompressor keeps it until it is done with it.
    const buffer = new Uint8Array(Math.min(READ_BYTES, access.size - place.offset));
    const length = await access.read(buffer, place.offset);
    if (length === 0) throw new StreamFault("missing", place.offset);
    const bytes = buffer.subarray(0, length);
    onRead(bytes, place.offset);
    place.offset += length;
    yield bytes;
  }
}

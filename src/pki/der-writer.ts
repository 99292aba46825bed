/** Writes DER, as far as a certificate request needs it. What the values mean is request.ts's business. */
import { assert } from "#base/assert.ts";

/** One element: tag, length in its shortest form, and the parts one after another. */
export function derElement(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  assert(content.length < 0x1_0000, `an element of ${content.length} bytes in a request`);
  return Buffer.concat([Uint8Array.of(tag, ...lengthBytes(content.length)), content]);
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

/** Tar archives made by hand, block by block, and what the reader makes of them. */
import { expect } from "bun:test";
import { Failure } from "#base/errors.ts";
import { type Collected, type CollectingSink, type CollectOptions, collectTar } from "./tar-collect.ts";

export const END = new Uint8Array(1024);
export const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Fields by offset, as text; `magic` is `ustar\x0000` unless given. The checksum is made right. */
export function block(fields: Readonly<Record<number, string>>, magic = "ustar\x0000"): Buffer {
  const bytes = Buffer.alloc(512);
  const all = { 0: "f", 100: "0000644\0", 124: "00000000000\0", 136: "00000000001\0", 156: "0", 257: magic, ...fields };
  for (const [at, text] of Object.entries(all)) bytes.write(text, Number(at), "latin1");
  bytes.write("        ", 148);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

export function padded(data: string): Buffer {
  const bytes = Buffer.from(data, "latin1");
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

export function extension(type: string, data: string): Buffer {
  const size = `${data.length.toString(8).padStart(11, "0")}\0`;
  return Buffer.concat([block({ 0: "ext", 124: size, 156: type }), padded(data)]);
}

export function record(key: string, value: string): string {
  let length = key.length + value.length + 3;
  while (String(length).length + key.length + value.length + 3 !== length) length += 1;
  return `${length} ${key}=${value}\n`;
}

export const pax = (records: Readonly<Record<string, string>>): Buffer =>
  extension(
    "x",
    Object.entries(records)
      .map(([key, value]) => record(key, value))
      .join(""),
  );

export function read(...parts: readonly Uint8Array[]): CollectingSink {
  return collectTar(Buffer.concat([...parts, END]));
}

export function one(...parts: readonly Uint8Array[]): Collected["entry"] {
  const { entries } = read(...parts);
  expect(entries.length).toBe(1);
  const [first] = entries;
  if (first === undefined) throw new Error("no entry");
  return first.entry;
}

/** The message of the damage. */
export function damage(tar: Uint8Array, options: CollectOptions = {}): string {
  try {
    collectTar(tar, options);
  } catch (error) {
    if (error instanceof Failure) return String(error);
    throw error;
  }
  return "none";
}

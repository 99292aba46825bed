/**
 * A small tar reader of the tests' own, strict where other readers forgive: every checksum, every padding byte, every pax
 * length must be right. Shares no code with the writer. It also says where each entry lies, for the tests of chunk borders.
 */

export interface WalkedEntry {
  /** latin1 text, one character per byte. */
  readonly path: string;
  readonly type: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly userName: string;
  readonly groupName: string;
  /** As in the header: whole seconds. */
  readonly mtime: number;
  readonly linkTarget: string;
  readonly device: readonly [number, number];
  readonly pax: ReadonlyMap<string, string>;
  /** Types of the headers in front: `x`, `L`, `K`. */
  readonly extensions: string;
  readonly headersAt: number;
  readonly dataAt: number;
  /** Behind the padding. */
  readonly end: number;
  /** Of a sparse file the map and what is stored. */
  readonly data: Uint8Array;
}

const BLOCK = 512;

/** All entries of a whole archive; throws when anything is not as it must be. */
export function walkTar(tar: Uint8Array): WalkedEntry[] {
  const entries: WalkedEntry[] = [];
  let at = 0;
  while (tar.length - at !== 2 * BLOCK) {
    const entry = walkEntry(tar, at);
    entries.push(entry);
    at = entry.end;
  }
  if (tar.subarray(at).some((byte) => byte !== 0)) throw new Error("the end blocks are not zero");
  return entries;
}

function walkEntry(tar: Uint8Array, headersAt: number): WalkedEntry {
  let at = headersAt;
  let extensions = "";
  let pax = new Map<string, string>();
  let longName: string | undefined;
  let longLink: string | undefined;
  for (;;) {
    const block = header(tar, at);
    const type = text(block, 156, 1);
    const size = number(block, 124, 12);
    const dataAt = at + BLOCK;
    if (type === "x" || type === "L" || type === "K") {
      const data = Buffer.from(tar.slice(dataAt, dataAt + size)).toString("latin1");
      if (type === "x") pax = paxRecords(data);
      else if (!data.endsWith("\0")) throw new Error("a long name without NUL");
      else if (type === "L") longName = data.slice(0, -1);
      else longLink = data.slice(0, -1);
      extensions += type;
      at = padded(tar, dataAt, size);
      continue;
    }
    const prefix = text(block, 345, 155);
    const realSize = Number(pax.get("size") ?? size);
    return {
      path:
        longName ??
        pax.get("GNU.sparse.name") ??
        pax.get("path") ??
        (prefix === "" ? "" : `${prefix}/`) + text(block, 0, 100),
      type,
      size: realSize,
      mode: number(block, 100, 8),
      uid: number(block, 108, 8),
      gid: number(block, 116, 8),
      userName: text(block, 265, 32),
      groupName: text(block, 297, 32),
      mtime: number(block, 136, 12),
      linkTarget: longLink ?? pax.get("linkpath") ?? text(block, 157, 100),
      device: [number(block, 329, 8), number(block, 337, 8)],
      pax,
      extensions,
      headersAt,
      dataAt,
      end: padded(tar, dataAt, realSize),
      data: tar.slice(dataAt, dataAt + realSize),
    };
  }
}

function header(tar: Uint8Array, at: number): Uint8Array {
  const block = tar.slice(at, at + BLOCK);
  if (block.length !== BLOCK) throw new Error(`no header at ${at}`);
  if (text(block, 257, 5) !== "ustar") throw new Error(`no magic at ${at}`);
  const sum = block.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  if (sum !== number(block, 148, 7)) throw new Error(`wrong checksum at ${at}`);
  return block;
}

/** Where the next header is; what lies between must be zero. */
function padded(tar: Uint8Array, dataAt: number, size: number): number {
  const end = dataAt + Math.ceil(size / BLOCK) * BLOCK;
  if (end > tar.length) throw new Error(`the data at ${dataAt} is cut short`);
  if (tar.subarray(dataAt + size, end).some((byte) => byte !== 0)) throw new Error(`padding before ${end} is not zero`);
  return end;
}

function text(block: Uint8Array, at: number, length: number): string {
  const field = Buffer.from(block.slice(at, at + length)).toString("latin1");
  const end = field.indexOf("\0");
  return end < 0 ? field : field.slice(0, end);
}

function number(block: Uint8Array, at: number, length: number): number {
  const first = block[at] ?? 0;
  if (first < 0x80) return Number.parseInt(text(block, at, length), 8);
  const bytes = [...block.slice(at + 1, at + length)];
  const value = bytes.reduce((total, byte) => total * 256n + BigInt(byte), 0n);
  return Number(first === 0xff ? value - (1n << BigInt(8 * (length - 1))) : value);
}

/** Keys must come sorted, each once. */
function paxRecords(data: string): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  let last = "";
  while (at < data.length) {
    const space = data.indexOf(" ", at);
    const length = Number(data.slice(at, space));
    const record = data.slice(space + 1, at + length);
    const equals = record.indexOf("=");
    const key = record.slice(0, equals);
    if (!record.endsWith("\n") || equals < 1 || key <= last) throw new Error(`bad pax record ${record}`);
    records.set(key, record.slice(equals + 1, -1));
    last = key;
    at += length;
  }
  return records;
}

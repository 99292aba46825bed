/**
 * Reads DER, as far as certificates need it: definite lengths, tags of one byte. It trusts no length and copies nothing.
 * What the values mean is certificate.ts's business; signatures are the crypto library's.
 *
 * It exists because the library gives names only as text (`CN=a\nCN=b`), in which a hostile value can fake a line.
 */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Arcs of an object identifier; the longest in use have about 20. */
const OID_ARC_COUNT_MAX = 64;

/** The bytes are not DER of the expected shape. Callers turn it into a Failure that names the file or the peer. */
export class MalformedDer extends Error {
  override readonly name = "MalformedDer";
}

export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
}

/** Elements one after another within `bytes`. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** The next element's tag; undefined at the end. */
  get peekTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /** The next element, whatever it is. Throws MalformedDer when it is cut off or written in a way DER forbids. */
  next(): DerElement {
    const tag = this.#byte("a tag");
    if ((tag & 0x1f) === 0x1f) throw new MalformedDer("a tag of several bytes");
    const length = this.#length();
    const start = this.#offset;
    if (length > this.#bytes.length - start) {
      throw new MalformedDer(`an element of ${length} bytes where ${this.#bytes.length - start} are left`);
    }
    this.#offset = start + length;
    return { tag, content: this.#bytes.subarray(start, start + length) };
  }

  /** The content of the next element, which must have this tag. `what` is for the message. */
  take(tag: number, what: string): Uint8Array {
    const element = this.next();
    if (element.tag !== tag) {
      throw new MalformedDer(`${what} has tag 0x${element.tag.toString(16)}, expected 0x${tag.toString(16)}`);
    }
    return element.content;
  }

  /** A reader of the next element's content. */
  enter(tag: number, what: string): DerReader {
    return new DerReader(this.take(tag, what));
  }

  /** The content of the next element if it has this tag; otherwise undefined, and nothing is consumed. */
  takeOptional(tag: number): Uint8Array | undefined {
    return this.peekTag === tag ? this.next().content : undefined;
  }

  /** Nothing may follow. */
  end(what: string): void {
    if (!this.atEnd) throw new MalformedDer(`${this.#bytes.length - this.#offset} bytes follow ${what}`);
  }

  #byte(what: string): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw new MalformedDer(`the bytes end before ${what}`);
    this.#offset += 1;
    return byte;
  }

  #length(): number {
    const first = this.#byte("a length");
    if (first < 0x80) return first;
    const byteCount = first & 0x7f;
    if (byteCount === 0 || byteCount > 4) throw new MalformedDer(`a length of ${byteCount} bytes`);
    let length = 0;
    for (let i = 0; i < byteCount; i++) length = length * 256 + this.#byte("the end of a length");
    return length;
  }
}

/** `2.5.29.19` of an OBJECT IDENTIFIER's content. */
export function oidText(content: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  let open = false;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    open = byte >= 0x80;
    if (!Number.isSafeInteger(arc)) throw new MalformedDer("an object identifier with an arc beyond 53 bits");
    if (open) continue;
    arcs.push(arc);
    arc = 0;
    if (arcs.length > OID_ARC_COUNT_MAX) throw new MalformedDer("an object identifier with too many arcs");
  }
  const first = arcs[0];
  if (open || first === undefined) throw new MalformedDer("an object identifier that is cut off");
  // The first two arcs share a number: 40 × the first, of which there are only 0, 1 and 2.
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - 40 * root, ...arcs.slice(1)].join(".");
}

/** Wall-clock milliseconds of a UTCTime or GeneralizedTime as certificates must write them: with seconds, ending in Z. */
export function timeMs(element: DerElement): number {
  const text = Buffer.from(element.content).toString("latin1");
  const pattern = element.tag === TAG.utcTime ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/;
  if (element.tag !== TAG.utcTime && element.tag !== TAG.generalizedTime)
    throw new MalformedDer("a time of another type");
  const match = pattern.exec(text);
  if (match === null) throw new MalformedDer("a time that is not written as certificates must");
  const digits = Number(match[1]);
  // RFC 5280: two digits from 50 on are of the 20th century.
  const year = element.tag === TAG.utcTime ? (digits < 50 ? 2000 + digits : 1900 + digits) : digits;
  const part = (index: number): number => Number((match[2] ?? "").slice(index, index + 2));
  return Date.UTC(year, part(0) - 1, part(2), part(4), part(6), part(8));
}

/** Headers that only say something about the entry behind them: pax records, of one entry or of all, and GNU's long names. */
import { blocks } from "./tar-format.ts";
import type { TarLimits } from "./tar-reader-entry.ts";
import { textField } from "./tar-reader-fields.ts";
import { applyPax, type PaxFields, PaxProblem } from "./tar-reader-pax.ts";

type ExtensionType = "pax" | "global" | "long-name" | "long-link" | "ignored";

/** By type flag. */
export const EXTENSION_TYPES: ReadonlyMap<number, ExtensionType> = new Map([
  [0x78, "pax"], // x
  [0x58, "pax"], // X, of Solaris
  [0x67, "global"], // g
  [0x4c, "long-name"], // L
  [0x4b, "long-link"], // K
  [0x56, "ignored"], // V: the name of the volume
]);

/** What those in front of one entry said. */
export class Extensions {
  count = 0;
  pax: PaxFields | undefined;
  longName: Uint8Array | undefined;
  longLink: Uint8Array | undefined;
  #paxBytes = 0;

  /** The data of one more, to be filled; a phrase when it is more than is read. `length` is negative for one that is none. */
  begin(type: ExtensionType, length: number, limits: TarLimits): ExtensionData | string {
    const isName = type === "long-name" || type === "long-link";
    // A NUL ends the name.
    const most = isName ? limits.nameBytesMax + 1 : limits.paxBytesMax;
    this.count += 1;
    if (!isName) this.#paxBytes += Math.max(0, length);
    if (this.count > limits.extensionsMax) return `an entry with more than ${limits.extensionsMax} headers in front`;
    if (length < 0) return "a header with an impossible size";
    if (length > most || this.#paxBytes > limits.paxBytesMax) {
      return `${isName ? "a name" : "pax records"} of ${length} bytes, at most ${most} are read`;
    }
    return new ExtensionData(type, length);
  }

  /** Takes in what a complete one says. Throws PaxProblem. */
  add({ type, bytes }: ExtensionData, global: GlobalRecords, limits: TarLimits): void {
    if (type === "long-name") this.longName = textField(bytes, 0, bytes.length);
    else if (type === "long-link") this.longLink = textField(bytes, 0, bytes.length);
    else if (type === "global") global.add(bytes, limits.paxBytesMax);
    else if (type === "pax") {
      this.pax ??= inherit(global.fields);
      applyPax(this.pax, bytes, limits.extentsMax);
    }
  }

  /** True when nothing was said of one entry: global records and volume names may stand in front of the end too. */
  get empty(): boolean {
    return this.pax === undefined && this.longName === undefined && this.longLink === undefined;
  }
}

/** The data of one such header, gathered whole: the limits keep it small. */
export class ExtensionData {
  readonly type: ExtensionType;
  readonly bytes: Uint8Array;
  /** Still to come, padding included. */
  #rawLeft: number;
  #filled = 0;

  constructor(type: ExtensionType, length: number) {
    this.type = type;
    this.bytes = new Uint8Array(length);
    this.#rawLeft = blocks(length);
  }

  get complete(): boolean {
    return this.#rawLeft === 0;
  }

  /** Takes what it needs of `bytes` from `at` on, and says how much that was. */
  take(bytes: Uint8Array, at: number): number {
    const taken = Math.min(this.#rawLeft, bytes.length - at);
    const kept = Math.min(this.bytes.length - this.#filled, taken);
    this.bytes.set(bytes.subarray(at, at + kept), this.#filled);
    this.#filled += kept;
    this.#rawLeft -= taken;
    return taken;
  }
}

/** What global headers said so far, for all entries that follow. */
export class GlobalRecords {
  fields: PaxFields = {};
  #bytes = 0;

  add(records: Uint8Array, bytesMax: number): void {
    this.#bytes += records.length;
    if (this.#bytes > bytesMax) throw new PaxProblem(`global pax records of more than ${bytesMax} bytes`);
    // What was given to entries stays as it was.
    this.fields = inherit(this.fields);
    applyPax(this.fields, records, 0);
    // Holes are one file's own.
    delete this.fields.sparse;
  }
}

function inherit(fields: PaxFields): PaxFields {
  return fields.xattrs === undefined ? { ...fields } : { ...fields, xattrs: new Map(fields.xattrs) };
}

/** What `ls` prints, line by line: nothing is kept, so columns get wider when something does not fit, as those of `tar tv` do. */
import { pathText } from "#base/path-text.ts";
import {
  factsJson,
  fileName,
  type ListedFile,
  modeText,
  mtimeText,
  nameJson,
  sizeText,
  targetText,
} from "./file-report.ts";

/** A directory above a source has no entry of its own. */
export interface ListedLine {
  readonly path: Uint8Array;
  readonly entry: ListedFile | undefined;
}

const OWNER_COLUMNS_MIN = 9;
const SIZE_COLUMNS_MIN = 10;
/** `2026-02-12 02:00:00Z` */
const TIME_COLUMNS = 20;

export class LsLines {
  readonly #nameStart: number;
  #ownerColumns = OWNER_COLUMNS_MIN;
  #sizeColumns = SIZE_COLUMNS_MIN;

  /** `nameStart`: so many bytes of every path are left out, the directory that is listed. */
  constructor(nameStart: number) {
    this.#nameStart = nameStart;
  }

  line({ path, entry }: ListedLine): string {
    const owner = entry === undefined ? "-" : `${entry.uid}/${entry.gid}`;
    const size = entry === undefined ? "-" : sizeText(entry);
    this.#ownerColumns = Math.max(this.#ownerColumns, owner.length);
    this.#sizeColumns = Math.max(this.#sizeColumns, size.length);
    const mode = entry === undefined ? "d---------" : modeText(entry.type, entry.mode);
    const time = entry === undefined ? "-" : mtimeText(entry);
    const columns = `${mode} ${owner.padEnd(this.#ownerColumns)} ${size.padStart(this.#sizeColumns)} ${time.padEnd(TIME_COLUMNS)}`;
    const name = path.length === 0 ? fileName(path) : pathText(path.subarray(this.#nameStart));
    return `${columns} ${name}${entry === undefined ? "" : `${targetText(entry)}${remark(entry)}`}\n`;
  }
}

/** What is in the archive is not what was on the disk. */
function remark({ changed, short }: ListedFile): string {
  if (short) return "  (some of it could not be read)";
  return changed ? "  (changed while it was read)" : "";
}

export function lsJson({ path, entry }: ListedLine): string {
  const none = { mode: null, uid: null, gid: null, size: null, mtime: null, linkTarget: null, device: null };
  const facts = entry === undefined ? { type: "directory", ...none } : factsJson(entry);
  const { sparse = false, changed = false, short = false } = entry ?? {};
  return `${JSON.stringify({ ...nameJson("path", path), ...facts, sparse, changed, short })}\n`;
}

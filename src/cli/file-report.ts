/** Files in archives as `ls`, `find` and `diff` print them: columns as of `ls -l`, and the same facts for programs. */
import { pathText } from "#base/path-text.ts";
import { fileTimeJson, fileTimeText } from "./time-text.ts";

/** As an index has it (#archive/index-format.ts); the fields are explained there. */
export interface ListedFile {
  readonly path: Uint8Array;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly linkTarget: Uint8Array | undefined;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly sparse: boolean;
  readonly changed: boolean;
  readonly short: boolean;
}

const TYPE_LETTERS: Readonly<Record<string, string>> = {
  ...{ file: "-", hardlink: "h", directory: "d", symlink: "l" },
  ...{ char: "c", block: "b", fifo: "p" },
};

const MODES_KEPT_MAX = 1000;
const modes = new Map<string, string>();

/** `-rwsr-xr-x`; a hard link's first letter is `h`, as GNU tar shows it. There are few different ones. */
export function modeText(type: string, mode: number): string {
  const key = `${type}${mode}`;
  const known = modes.get(key);
  if (known !== undefined) return known;
  const text = `${TYPE_LETTERS[type] ?? "?"}${bits(mode, 6, 0o4000, "s")}${bits(mode, 3, 0o2000, "s")}${bits(mode, 0, 0o1000, "t")}`;
  if (modes.size >= MODES_KEPT_MAX) modes.clear();
  modes.set(key, text);
  return text;
}

function bits(mode: number, shift: number, special: number, letter: string): string {
  const [read, write, execute] = [(mode >> shift) & 4, (mode >> shift) & 2, (mode >> shift) & 1];
  const plain = execute === 0 ? "-" : "x";
  const last = (mode & special) === 0 ? plain : execute === 0 ? letter.toUpperCase() : letter;
  return `${read === 0 ? "-" : "r"}${write === 0 ? "-" : "w"}${last}`;
}

/** Of a device its numbers, as `ls -l` has them. */
export function sizeText(file: ListedFile): string {
  const isDevice = file.type === "char" || file.type === "block";
  return isDevice ? `${file.deviceMajor},${file.deviceMinor}` : String(file.size);
}

/** ` -> target`, ` link to target`; empty for what is no link. */
export function targetText({ type, linkTarget }: ListedFile): string {
  if (linkTarget === undefined) return "";
  return `${type === "hardlink" ? " link to " : " -> "}${pathText(linkTarget)}`;
}

export function mtimeText({ mtimeSeconds }: ListedFile): string {
  return fileTimeText(mtimeSeconds);
}

/** Of the root directory too. */
export function fileName(path: Uint8Array): string {
  return path.length === 0 ? "/" : pathText(path);
}

/** `path`, and `pathBase64` where the text is not the name itself: an escaped name cannot be told from one that looks so. */
export function nameJson(name: string, path: Uint8Array): Record<string, string> {
  const text = pathText(path);
  const plain = Buffer.from(text).equals(path);
  return plain ? { [name]: text } : { [name]: text, [`${name}Base64`]: Buffer.from(path).toString("base64") };
}

/** Without its path. */
export function factsJson(file: ListedFile): Record<string, unknown> {
  const isDevice = file.type === "char" || file.type === "block";
  return {
    type: file.type,
    mode: (file.mode & 0o7777).toString(8).padStart(4, "0"),
    uid: file.uid,
    gid: file.gid,
    size: file.size,
    mtime: fileTimeJson(file.mtimeSeconds, file.mtimeNanos),
    ...(file.linkTarget === undefined ? { linkTarget: null } : nameJson("linkTarget", file.linkTarget)),
    device: isDevice ? `${file.deviceMajor},${file.deviceMinor}` : null,
  };
}

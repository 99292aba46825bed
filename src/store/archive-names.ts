/**
 * Names and paths in a storage: `<agent>/<backup>/<UTC start time>.tar.gz` and its companions. Names are checked
 * again here, whoever checked them before: what this file returns never leaves the base directory and is never hidden.
 */
import { archiveTimeText, timeOfArchive } from "#base/archive-time.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const EXTENSIONS: Readonly<Record<CompressionMode, string>> = { gzip: "tar.gz", zst: "tar.zst" };

/** Years 1970 to 9999: what the name has digits for. */
const TIME_MS_MAX = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** The files of one archive, without directory. */
export interface ArchiveNames {
  /** `2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  /** `2026-02-12T02-00-00-123Z.idx` */
  readonly index: string;
  /** `2026-02-12T02-00-00-123Z.tar.gz.sha256` */
  readonly checksum: string;
}

/** `2026-02-12T02-00-00-123Z.tar.gz` for wall milliseconds. */
export function archiveFileName(timeMs: number, compression: CompressionMode): string {
  if (!Number.isSafeInteger(timeMs) || timeMs < 0 || timeMs > TIME_MS_MAX) {
    throw new Failure("E_STORAGE_FAILED", `the server's clock says ${timeMs} ms, which no archive name can hold`, {
      hint: "Set the server's clock; archives are named by it.",
    });
  }
  return `${archiveTimeText(timeMs)}.${EXTENSIONS[compression]}`;
}

/** The archive's file name with those of its companions. */
export function companions(archive: string): ArchiveNames {
  return { archive, index: archive.replace(/\.tar\.(gz|zst)$/, ".idx"), checksum: `${archive}.sha256` };
}

/** `agent/backup`, both checked. Throws Failure E_NAME. */
export function entryDirectory(agent: string, backup: string): string {
  for (const [what, name] of [
    ["agent", agent],
    ["backup", backup],
  ] as const) {
    if (!isName(name)) throw new Failure("E_NAME", `${what} name ${JSON.stringify(name)} is not ${NAME_RULE}`);
  }
  return `${agent}/${backup}`;
}

/** The time in an archive's file name in wall milliseconds; undefined for any other name. */
export function archiveTimeMs(fileName: string): number | undefined {
  return timeOfArchive(fileName);
}

/** True for the text of a UUID in lower case, which is what sessions and runs are called. */
export function isSessionId(text: string): boolean {
  return UUID.test(text);
}

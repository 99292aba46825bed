/**
 * Routes about archives: the list, and for who has given a password and where `allow_download` lets them, what is in one: a directory, a
 * search, one file. A download is told as an event with address and path before its first byte goes out.
 */
import { type Failure, toFailure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import type { ScannedArchive } from "#observe/storage-scans.ts";
import type { ArchivesAnswer, BackupRow, FindAnswer, TreeAnswer } from "./api-archives.ts";
import { archiveSummary } from "./archive-summary.ts";
import { notFound, Refused, type WebAnswer, type WebRequest } from "./http.ts";
import { checkKnown, limitOf, pageOf, required, spanOf, textOf } from "./paging.ts";
import type { ArchiveBrowser, ArchivePlace, EmitEvent, ReadModel } from "./read-model.ts";

/** Names of one page of a directory, files of one search. */
const NAMES_MAX = 1_000;
const FOUND_MAX = 200;
const PATTERN_CHARACTERS_MAX = 1_000;
/** Of a file's name that a browser is told; the ending is what counts. */
const NAME_CHARACTERS_MAX = 255;
/** Looks into archives at a time; each waits for its turn at the disk. */
const LOOKS_AT_ONCE = 4;
/** Files on their way at a time: each holds two threads, some MB and one of the process's few threads for file calls. */
const DOWNLOADS_AT_ONCE = 4;

export interface ArchiveRoutesOptions {
  readonly model: ReadModel;
  readonly browser: ArchiveBrowser;
  /** Password and allow_download are there. */
  readonly isAllowed: () => boolean;
  readonly emit: EmitEvent;
}

export class ArchiveRoutes {
  readonly #options: ArchiveRoutesOptions;
  #looks = 0;
  #downloads = 0;

  constructor(options: ArchiveRoutesOptions) {
    this.#options = options;
  }

  list(query: URLSearchParams, backups: readonly BackupRow[]): ArchivesAnswer {
    checkKnown(query, ["agent", "backup", "storage", "from", "to", "limit", "after"]);
    const { scans, history } = this.#options.model;
    const isMeant = filterOf(query);
    const isWithin = spanOf(query);
    const page = pageOf(
      {
        newest: (limit, wanted: (row: ScannedArchive) => boolean) =>
          scans
            .archives()
            .filter(wanted)
            .sort((a, b) => b.timeMs - a.timeMs)
            .slice(0, limit),
        timeOf: ({ timeMs }) => timeMs,
      },
      query,
      (row) => isMeant(row) && isWithin(row.timeMs),
    );
    const names = new Set(page.rows.map(keyOf));
    const ends = new Map(
      history
        .newest(Number.MAX_SAFE_INTEGER, ({ archive }) => archive !== null && names.has(archive))
        .map((end) => [end.archive, end]),
    );
    const looked = [...new Set(page.rows.map(({ storage }) => storage))].flatMap(
      (name) => scans.scanOf(name)?.atWallMs ?? [],
    );
    return {
      ...page,
      rows: page.rows.map((row) => archiveSummary(row, ends.get(keyOf(row)))),
      backups: backups.filter(isMeant),
      scannedWallMs: looked.length === 0 ? null : Math.min(...looked),
    };
  }

  async tree(query: URLSearchParams): Promise<TreeAnswer> {
    checkKnown(query, ["storage", "agent", "backup", "archive", "key", "limit", "after"]);
    this.#mustBeAllowed();
    const row = this.#archive(query);
    const page = { limit: limitOf(query, NAMES_MAX), after: textOf(query, "after") ?? null };
    return await this.#look(async () => {
      const found = await this.#options.browser.directory(placeOf(row), textOf(query, "key") ?? null, page);
      return { archive: archiveSummary(row), ...found, total: null };
    });
  }

  async find(query: URLSearchParams): Promise<FindAnswer> {
    checkKnown(query, ["agent", "backup", "storage", "pattern", "limit", "after"]);
    this.#mustBeAllowed();
    const [agent, backup, pattern] = [required(query, "agent"), required(query, "backup"), required(query, "pattern")];
    if (pattern.length > PATTERN_CHARACTERS_MAX) throw new Refused(400, "bad-request", "the pattern is too long");
    const places = this.#options.model.scans.archives().filter(filterOf(query)).map(placeOf);
    if (places.length === 0) throw notFound("there are no such archives");
    const page = { limit: limitOf(query, FOUND_MAX), after: textOf(query, "after") ?? null };
    return await this.#look(async () => {
      const found = await this.#options.browser.find(places, pattern, page);
      return { ...found, rows: found.rows.map((file) => ({ ...file, agent, backup })), total: null };
    });
  }

  async file({ query, method, signal }: WebRequest, address: string): Promise<WebAnswer> {
    checkKnown(query, ["storage", "agent", "backup", "archive", "key"]);
    this.#mustBeAllowed();
    const place = placeOf(this.#archive(query));
    const key = required(query, "key");
    if (method === "HEAD")
      throw new Refused(405, "bad-request", "a download takes GET only", { headers: { allow: "GET" } });
    if (this.#downloads >= DOWNLOADS_AT_ONCE) throw tooMany("other downloads go on just now");
    this.#downloads += 1;
    let left = false;
    const leave = (): void => {
      if (!left) this.#downloads -= 1;
      left = true;
    };
    try {
      const { name, path, bytes, body } = await told(() => this.#options.browser.file({ ...place, key }, signal));
      const headers = downloadHeaders(name);
      this.#options.emit(downloadEvent(place, { path, bytes, address }));
      return { status: 200, headers, body: watched(body, leave) };
    } catch (error) {
      leave();
      throw error;
    }
  }

  #mustBeAllowed(): void {
    if (this.#options.isAllowed()) return;
    throw new Refused(403, "forbidden", "archives are not to be looked into here", {
      hint: "Set web_ui.password_file and web_ui.allow_download.",
    });
  }

  #archive(query: URLSearchParams): ScannedArchive {
    const [storage, agent, backup] = [required(query, "storage"), required(query, "agent"), required(query, "backup")];
    const archive = required(query, "archive");
    const row = this.#options.model.scans
      .archivesOf(storage)
      .find((one) => one.name === archive && one.agent === agent && one.backup === backup);
    if (row === undefined) throw notFound("there is no such archive");
    return row;
  }

  async #look<T>(work: () => Promise<T>): Promise<T> {
    if (this.#looks >= LOOKS_AT_ONCE) throw tooMany("others look into archives just now");
    this.#looks += 1;
    try {
      return await told(work);
    } finally {
      this.#looks -= 1;
    }
  }
}

function tooMany(message: string): Refused {
  return new Refused(429, "too-many", message, { headers: { "retry-after": "2" } });
}

/** A Failure as the answer that it is; what is none is a bug and stays one. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw refusedBy(toFailure(error));
  }
}

const STATUS_OF: Partial<Readonly<Record<ErrorCode, number>>> = {
  ...{ E_ARCHIVE_UNKNOWN: 404, E_PATH_UNKNOWN: 404, E_STORAGE_UNKNOWN: 404, E_USAGE: 400, E_NAME: 400 },
  ...{ E_INDEX_DAMAGED: 409, E_INDEX_UNSORTED: 409, E_ARCHIVE_DAMAGED: 409, E_STORAGE_FAILED: 503, E_LIMIT: 503 },
};

function refusedBy({ code, message, hint }: Failure): Refused {
  return new Refused(STATUS_OF[code] ?? 500, code, message, { hint });
}

function filterOf(query: URLSearchParams): (row: Pick<ScannedArchive, "agent" | "backup" | "storage">) => boolean {
  const [agent, backup, storage] = [textOf(query, "agent"), textOf(query, "backup"), textOf(query, "storage")];
  return (row) =>
    (agent === undefined || row.agent === agent) &&
    (backup === undefined || row.backup === backup) &&
    (storage === undefined || row.storage === storage);
}

function placeOf({ storage, agent, backup, name: archive }: ScannedArchive): ArchivePlace {
  return { storage, agent, backup, archive };
}

function keyOf({ agent, backup, name }: ScannedArchive): string {
  return `${agent}/${backup}/${name}`;
}

function downloadEvent(
  { storage, agent, backup, archive }: ArchivePlace,
  { path, bytes, address }: { readonly path: string; readonly bytes: number; readonly address: string },
): Parameters<EmitEvent>[0] {
  return {
    kind: "archive.downloaded",
    level: "info",
    message: `${address} downloads ${safeText(path)} of ${agent}/${backup}/${archive}`,
    fields: { address, storage, agent, backup, archive: `${agent}/${backup}/${archive}`, path, bytes },
  };
}

/** Whatever a file of a backup is, a browser saves it: it shows nothing, guesses no type, and runs nothing even when told to. */
function downloadHeaders(name: string): Record<string, string> {
  // A lone half of a character cannot be written as a URL is, and neither can the rest of an escape that was cut.
  const whole = name.slice(-NAME_CHARACTERS_MAX).toWellFormed();
  const plain = whole.replace(/[^A-Za-z0-9._-]/g, "_") || "file";
  const encoded = encodeURIComponent(whole).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return {
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`,
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "no-store",
  };
}

/** The same bytes; `over` when the last is out, or nobody wants them any more and what made them has ended. */
function watched(body: ReadableStream<Uint8Array>, over: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  /** Nobody wants them any more. A read that waits ends at once by that, long before what makes the bytes does. */
  let unwanted = false;
  return new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      try {
        const { done, value } = await reader.read();
        if (unwanted) return;
        if (!done) {
          controller.enqueue(value);
          return;
        }
        over();
        controller.close();
      } catch (error) {
        if (unwanted) return;
        over();
        controller.error(error);
      }
    },
    async cancel(reason): Promise<void> {
      unwanted = true;
      try {
        await reader.cancel(reason);
      } finally {
        over();
      }
    },
  });
}

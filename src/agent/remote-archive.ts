/**
 * One archive at the server and its index, open for as long as a command reads them: on whatever connection is up, opened again by name
 * after a break. What is read then must be the same archive still: its size says so, and what the index or the archive's own checksums
 * say of each chunk.
 */
import type { FileNumber } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { ArchiveRow, OpenedArchive } from "#restore/archive-stock.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { ReadLine } from "./read-line.ts";
import type { ReadLink } from "./read-link.ts";

/** Undefined where there is none, or it was not wanted. */
type Sizes = readonly [archive: number | undefined, index: number | undefined];

export class RemoteArchive {
  readonly #line: ReadLine;
  readonly #row: ArchiveRow;
  readonly #indexOnly: boolean;
  /** As it was opened first. */
  #sizes: Sizes | undefined;
  /** What the archive is called on a connection. */
  #place: { readonly link: ReadLink; readonly open: Promise<number> } | undefined;
  #closed = false;

  private constructor(line: ReadLine, row: ArchiveRow, indexOnly: boolean) {
    this.#line = line;
    this.#row = row;
    this.#indexOnly = indexOnly;
  }

  /** Rejects with Failure: E_ARCHIVE_UNKNOWN, E_RESTORE_DENIED … */
  static async open(line: ReadLine, row: ArchiveRow): Promise<OpenedArchive> {
    const remote = new RemoteArchive(line, row, false);
    const [archive, index] = await remote.#files();
    if (archive === undefined) throw new Failure("E_PROTOCOL", "the server opened an archive without saying its size");
    return { archive, index, close: async () => remote.#close() };
  }

  static async openIndex(line: ReadLine, row: ArchiveRow): Promise<ArchiveAccess | undefined> {
    const remote = new RemoteArchive(line, row, true);
    const [, index] = await remote.#files();
    if (index === undefined) remote.#close();
    return index === undefined ? undefined : { ...index, close: async () => remote.#close() };
  }

  async #files(): Promise<readonly [ArchiveAccess | undefined, ArchiveAccess | undefined]> {
    await this.#line.call((link) => this.#opened(link));
    return [this.#file(0), this.#file(1)];
  }

  #file(file: FileNumber): ArchiveAccess | undefined {
    const size = this.#sizes?.[file];
    if (size === undefined) return undefined;
    const ahead = new ReadAhead(size, (into, offset) =>
      this.#line.call(async (link) => await link.read(await this.#opened(link), file, into, offset)),
    );
    return { size, read: (into, offset) => ahead.read(into, offset), close: async () => undefined };
  }

  #close(): void {
    this.#closed = true;
    const place = this.#place;
    // One that could not be opened need not be closed.
    place?.open.then((open) => place.link.close(open)).catch(() => undefined);
  }

  /** Its number on the connection; opens it there if it is not. */
  #opened(link: ReadLink): Promise<number> {
    // What was asked for ahead, and was under way when a connection broke, is nobody's any more.
    if (this.#closed) return Promise.reject(new Failure("E_DISCONNECTED", "the archive was closed", { retry: false }));
    if (this.#place?.link === link) return this.#place.open;
    const open = this.#openOn(link);
    const place = { link, open };
    this.#place = place;
    open.catch(() => {
      if (this.#place === place) this.#place = undefined;
    });
    return open;
  }

  async #openOn(link: ReadLink): Promise<number> {
    const { storage, backup, name } = this.#row;
    const opened = await link.open({ storage, backup, name, indexOnly: this.#indexOnly });
    const sizes: Sizes = [opened.archiveBytes, opened.indexBytes];
    this.#sizes ??= sizes;
    if (sizes[0] !== this.#sizes[0]) {
      throw new Failure("E_ARCHIVE_READ", `${name} is another archive than before the connection broke`);
    }
    if (sizes[1] !== this.#sizes[1]) {
      throw new Failure("E_INDEX_DAMAGED", `the index of ${name} is another one than before the connection broke`);
    }
    return opened.request;
  }
}

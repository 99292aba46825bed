/** The archives of this agent at its server, as the archive commands see them: over one read connection that comes back when it breaks. */
import { timeOfArchive } from "#base/archive-time.ts";
import { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { ArchiveFilter, ArchiveListing, ArchiveRow, ArchiveStock, OpenedArchive } from "#restore/archive-stock.ts";
import { ReadLine, type ReadLineOptions } from "./read-line.ts";
import type { ListedRow } from "./read-link.ts";
import { RemoteArchive } from "./remote-archive.ts";

export class ReadStock implements ArchiveStock {
  readonly #agent: string;
  readonly #line: ReadLine;
  readonly #open = { archives: 0 };

  /** Connects when it is first asked for something. */
  constructor(options: ReadLineOptions) {
    this.#agent = options.deps.identity.agent;
    this.#line = new ReadLine(options);
  }

  /** Also rejects with what keeps the agent from its server: E_CONNECT, E_TLS, a refusal. */
  async list({ storage, agent, backup, facts = false }: ArchiveFilter): Promise<ArchiveListing> {
    if (agent !== undefined && agent !== this.#agent) return { rows: [], failures: [] };
    const filter = {
      facts,
      ...(storage === undefined ? {} : { storage }),
      ...(backup === undefined ? {} : { backup }),
    };
    const { rows, failures } = await this.#line.call((link) => link.list(filter));
    return { rows: rows.map((row) => this.#row(row)).sort(compareRows), failures };
  }

  open(row: ArchiveRow): Promise<OpenedArchive> {
    return RemoteArchive.open({ line: this.#line, open: this.#open }, row);
  }

  openIndex(row: ArchiveRow): Promise<ArchiveAccess | undefined> {
    return RemoteArchive.openIndex({ line: this.#line, open: this.#open }, row);
  }

  async close(): Promise<void> {
    this.#line.close();
  }

  #row({ bytes, sha256, name, ...row }: ListedRow): ArchiveRow {
    const timeMs = timeOfArchive(name);
    if (timeMs === undefined) throw new Failure("E_PROTOCOL", `the server lists ${JSON.stringify(name)} as an archive`);
    const { storage, backup, hasIndex, entries, rawBytes, durationMs, problems, unread, damage } = row;
    return {
      ...{ storage, agent: this.#agent, backup, name, timeMs, archiveBytes: bytes },
      ...{ entries, rawBytes, durationMs, problems, unread, hasIndex, damage },
      sha256: sha256 === undefined ? undefined : Buffer.from(sha256).toString("hex"),
    };
  }
}

/** By backup, the newest first; of the same time by storage. */
function compareRows(a: ArchiveRow, b: ArchiveRow): number {
  return compareText(a.backup, b.backup) || b.timeMs - a.timeMs || compareText(a.storage, b.storage);
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

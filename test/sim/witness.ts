/**
 * Sees all that agents and server say to each other and knows what each producer made. It says when a promise was broken:
 * a durable point that goes back or is not on the disk, a commit without equal proofs, two writers of one backup. What must
 * be true of the storage's files is archive-checks.ts.
 */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import type { Clock } from "#base/clock.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { BackupResult } from "#agent/result.ts";
import type { ShardLevels } from "#store/staging.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { KeptPlaces } from "./kept-places.ts";
import type { SimProcess } from "./process.ts";
import type { Production } from "./production.ts";
import type { Spoils } from "./spoils.ts";
import { storedBytes } from "./stored-chunks.ts";
import type { Trace } from "./trace.ts";

/** What is known of one session. */
export interface SessionFacts {
  readonly id: string;
  /** `agent/backup` */
  readonly entry: string;
  /** `agent/backup/2026-….tar.gz`, as Admitted named it. */
  readonly archive: string;
  readonly client: SimProcess;
  production: Production | undefined;
  /** By file: what the server said is durable. */
  readonly durable: [{ chunks: number; bytes: number }, { chunks: number; bytes: number }];
  /** Finish messages that arrived at the server, from whichever connection. */
  finishes: number;
  /** Those of them that say another proof than the agent's. */
  wrongProofs: number;
  /** Committed, by an event, a message or a recovery. */
  committed: boolean;
  /** The code of the event that it ended. */
  ended: string | undefined;
  /** Which start of the server began to remove it. */
  removedBy: number | undefined;
}

/** What a connection is about, as far as was heard. */
export interface LinkFacts {
  readonly client: SimProcess;
  session: string | undefined;
  /** Of the Hello. */
  role: string | undefined;
}

export interface WitnessOptions {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly spoils: Spoils;
  readonly baseDir: string;
  readonly disk: () => MemoryDisk;
  /** How the store stages chunks; undefined: it keeps them at their offset in one file. */
  readonly shardLevels: ShardLevels | undefined;
  readonly survivesRestart: boolean;
  /** The disk did not give a session back, so that nobody knows which entry it is of. */
  readonly isUnread: (session: string) => boolean;
}

export class Witness {
  /** What was broken; the run ends at the first. */
  violation: string | undefined;
  readonly sessions = new Map<string, SessionFacts>();
  readonly #options: WitnessOptions;
  /** By entry: the session that the server runs. */
  readonly #running = new Map<string, string>();
  /** By process and entry: the session that was admitted last. */
  #starts = 0;
  readonly #admitted = new Map<string, SessionFacts>();
  readonly #places = new KeptPlaces();

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  broken(what: string): void {
    this.violation ??= what;
    this.#options.trace.note(`VIOLATION ${what}`);
  }

  /** A message reached the server. */
  reachedServer(link: LinkFacts, message: AnyMessage): void {
    if (message.type === "hello") {
      link.role = message.body.role;
      link.session = message.body.session;
    } else if (message.type === "finish") {
      const session = this.sessions.get(link.session ?? "");
      if (session !== undefined) session.finishes += 1;
    }
  }

  /** The server handed a message to a connection. */
  said(link: LinkFacts, message: AnyMessage): void {
    if (message.type === "admitted") this.#onAdmitted(link, message.body);
    else if (message.type === "sack") this.#onSack(link, message.body);
    else if (message.type === "committed") this.#onCommitted(message.body);
    else if (message.type === "refused") this.#onRefused(link, message.body);
    else if (message.type === "welcome" && link.session !== undefined) this.#places.returned(link.session);
  }

  /** An agent's process made a producer, in the turn in which Admitted reached it. */
  produces(client: SimProcess, entry: string, production: Production): void {
    const session = this.#admitted.get(`${client.name} ${entry}`);
    if (session === undefined) this.broken(`${client.name} reads for ${entry} without a session`);
    else if (session.production !== undefined) this.broken(`the files of session ${session.id} are read twice`);
    else session.production = production;
  }

  /** An event of the server. */
  event({ kind, fields }: ObservedEvent): void {
    const id = String(fields["session"] ?? "");
    const entry = `${String(fields["agent"])}/${String(fields["backup"])}`;
    if (kind === "session.admitted") {
      const other = this.#running.get(entry);
      if (other !== undefined && !this.#diedEnding(other) && !this.#options.isUnread(other))
        this.broken(`session ${id} of ${entry} begins while ${other} runs`);
      this.#running.set(entry, id);
    } else if (kind === "session.recovered") {
      this.#places.recovered(id, entry, this.#options.clock.now());
    } else if (kind === "session.ended" || kind === "session.committed") {
      if (this.#running.get(entry) === id) this.#running.delete(entry);
      const session = this.sessions.get(id);
      if (session === undefined) return;
      if (kind === "session.ended") this.#onEnded(session, String(fields["code"]));
      else this.#checkCommit(session, String(fields["sha256"]), Number(fields["archiveBytes"]));
    }
  }

  /** Ids of the sessions that the server runs. */
  get running(): string[] {
    return [...this.#running.values()];
  }

  /** The server begins to remove a session from the disk. */
  removes(id: string): void {
    const session = this.sessions.get(id);
    if (session !== undefined) session.removedBy ??= this.#starts;
  }

  /** The server's process is gone. */
  serverGone(): void {
    this.#starts += 1;
    this.#places.serverGone();
    if (!this.#options.survivesRestart) this.#running.clear();
  }

  /** A run of an agent ended. */
  result(client: SimProcess, entry: string, result: BackupResult): void {
    this.#places.runOver(client, entry);
    const session = this.sessions.get(result.session ?? "");
    if (result.result !== "committed") return;
    if (session === undefined || session.entry !== entry) {
      this.broken(`${client.name} reports a commit of a session that is not known: ${result.session}`);
    } else if (!session.committed) {
      this.broken(`${client.name} reports that ${session.id} was committed, which it was not`);
    } else if (session.archive !== result.archive || session.production?.sha256() !== result.sha256) {
      this.broken(`${client.name} reports ${result.archive} with SHA-256 ${result.sha256} for session ${session.id}`);
    }
  }

  /** The archive of a session was found committed. */
  checkedCommit(session: SessionFacts): void {
    session.committed = true;
    if (session.finishes === 0) this.broken(`session ${session.id} was committed although no Finish came`);
    // Of several any may be the one that counted: the first may have gone down with its server, a later one only asks again.
    else if (session.finishes === session.wrongProofs)
      this.broken(`session ${session.id} was committed with a wrong proof`);
    if (session.ended === "E_MISMATCH")
      this.broken(`session ${session.id} was committed after its proofs had differed`);
    if (session.production?.summary === undefined)
      this.broken(`session ${session.id} was committed before all was read`);
  }

  #onEnded(session: SessionFacts, code: string): void {
    session.ended = code;
    if (code === "E_SUPERSEDED")
      this.#places.superseded(session.id, session.entry, session.client, this.#options.clock.now());
  }

  #onAdmitted(link: LinkFacts, body: Message<"admitted">): void {
    const { session: id, archive } = body;
    link.session = id;
    const session: SessionFacts = {
      id,
      entry: archive.slice(0, archive.lastIndexOf("/")),
      archive,
      client: link.client,
      production: undefined,
      durable: [
        { chunks: 0, bytes: 0 },
        { chunks: 0, bytes: 0 },
      ],
      finishes: 0,
      wrongProofs: 0,
      committed: false,
      ended: undefined,
      removedBy: undefined,
    };
    if (this.sessions.has(id)) this.broken(`session ${id} was admitted twice`);
    this.sessions.set(id, session);
    this.#admitted.set(`${link.client.name} ${session.entry}`, session);
    const wrong = this.#places.admitted(session.entry, link.client);
    if (wrong !== undefined) this.broken(wrong);
  }

  #onSack(link: LinkFacts, sack: Message<"sack">): void {
    const session = this.sessions.get(link.session ?? "");
    if (session === undefined) {
      this.broken(`a Sack for a session that is not known: ${link.session}`);
      return;
    }
    const named = new Set<FileNumber>();
    for (const { file, durableChunks, durableBytes } of sack.files) {
      const before = session.durable[file];
      named.add(file);
      if (durableChunks < before.chunks || durableBytes < before.bytes) {
        this.broken(
          `session ${session.id} was told that ${before.bytes} bytes of file ${file} are durable, now ${durableBytes}`,
        );
      }
      const said = { chunks: durableChunks, bytes: durableBytes };
      if (durableBytes > before.bytes) this.#checkDurable(session, file, said);
      session.durable[file] = said;
    }
    for (const file of [0, 1] as const) {
      if (!named.has(file) && session.durable[file].chunks > 0)
        this.broken(`a Sack of session ${session.id} does not name file ${file}, of which chunks are durable`);
    }
  }

  /** What the server calls durable must be on the disk, as a loss of power would leave it. */
  #checkDurable(
    session: SessionFacts,
    file: FileNumber,
    said: { readonly chunks: number; readonly bytes: number },
  ): void {
    const { shardLevels, disk, baseDir, spoils } = this.#options;
    const production = must(session.production, `production of session ${session.id}`);
    const made = production.bytes(file);
    if (made.length < said.bytes || production.chunkStart(file, said.chunks) !== said.bytes) {
      this.broken(`session ${session.id}: ${said.bytes} bytes of file ${file} are durable, ${made.length} were made`);
      return;
    }
    const before = session.durable[file];
    const archive = `${baseDir}/${session.archive}`;
    const range = {
      ...{ directory: `${baseDir}/.nbackup/sessions/${session.id}`, file },
      committed: file === 0 ? archive : archive.replace(/\.tar\.\w+$/, ".idx"),
      ...{ first: before.chunks, end: said.chunks },
    };
    const bytes = storedBytes(disk(), shardLevels, production, range);
    const about = { session: session.id, file, which: "all" } as const;
    const difference = spoils.difference(about, bytes, made.subarray(before.bytes, said.bytes), before.bytes);
    if (difference === undefined) return;
    this.broken(
      `session ${session.id} was told that ${said.bytes} bytes of file ${file} are durable, but byte ${difference} is not on the disk`,
    );
  }

  #onCommitted({ session: id, archive, bytes, sha256 }: Message<"committed">): void {
    const session = this.sessions.get(id);
    if (session === undefined) {
      this.broken(`committed was said of a session that is not known: ${id}`);
      return;
    }
    if (archive !== session.archive) this.broken(`session ${id} was committed as ${archive}, not ${session.archive}`);
    this.#checkCommit(session, Buffer.from(sha256).toString("hex"), bytes);
  }

  #checkCommit(session: SessionFacts, sha256: string, bytes: number): void {
    this.checkedCommit(session);
    const made = session.production?.bytes(0);
    if (made?.length !== bytes || session.production?.sha256() !== sha256)
      this.broken(`session ${session.id} was committed with another proof than the agent's`);
  }

  /** A session may be unknown only when it has ended, or a restart forgets what was not committed. */
  #onRefused(link: LinkFacts, { code }: Message<"refused">): void {
    // A stream may be refused so while the storage of its session cannot be opened; it tries again.
    if (link.role !== "session") return;
    const session = this.sessions.get(link.session ?? "");
    if (!this.#options.survivesRestart || code !== "E_SESSION_GONE" || session === undefined) return;
    if (session.client !== link.client || session.ended !== undefined || session.committed) return;
    if (this.#diedEnding(session.id)) return;
    this.broken(`session ${session.id} is refused as gone, but it never ended`);
  }

  /** The server died between removing a session and telling its end: nobody can say it any more. */
  #diedEnding(id: string): boolean {
    const by = this.sessions.get(id)?.removedBy;
    return by !== undefined && by < this.#starts;
  }
}

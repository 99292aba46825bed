/**
 * What an administrator may ask of the running server, on plain values: requests come in as whatever JSON held, answers go
 * out as JSON. How they travel (src/bin/control.ts: a socket in the state directory) is not its business, and whoever may
 * reach that may ask everything.
 */
import * as z from "zod/mini";
import { Failure, toFailure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import { MAINTENANCE_REASON_CHARS_MAX } from "#store/maintenance-file.ts";
import { DETAILS_MAX, VERIFIERS } from "#store/damage-mark.ts";
import type { EventSink } from "#observe/events.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { RecordStore } from "#observe/record-store.ts";
import type { AgentView } from "#observe/agent-views.ts";
import type {
  AbortView,
  ConfigReading,
  PrunedView,
  PruneFailure,
  PruneView,
  RecordedView,
  ServerStatus,
  StartedView,
} from "#observe/views.ts";
import type { PrunedEntry } from "#store/prune.ts";
import { absentAgent } from "./agent-view.ts";
import type { ControlHub } from "./control-hub.ts";
import type { Orchestration } from "./orchestration.ts";
import type { Overview } from "./overview.ts";
import type { Registry } from "./registry.ts";
import type { RevocationGuard } from "./revocation-guard.ts";
import type { Session } from "./session.ts";
import { archivesRemoved } from "./session-ends.ts";
import type { ServerMetrics } from "./server-metrics.ts";
import type { StorageShelf } from "./storage-shelf.ts";
import type { Verifier } from "./verifier.ts";

/** Rows of one answer: some MB. */
const ROWS_MAX = 10_000;

const rows = z._default(z.int().check(z.minimum(1), z.maximum(ROWS_MAX)), 50);
const name = z.string().check(z.refine(isName));

/** The rotation as the configuration file has it now: the server may run with an older one. */
const pruneStorage = z.strictObject({
  name,
  baseDir: z.string(),
  maxBackups: z.int().check(z.minimum(1)),
  minAgeMs: z.number().check(z.minimum(0)),
});

/** Of a verification that a command has made: DETAILS_MAX lines at most are kept. */
const finding = z.union([
  z.strictObject({ ok: z.literal(true) }),
  z.strictObject({
    ok: z.literal(false),
    what: z.string(),
    details: z.array(z.string()).check(z.maxLength(DETAILS_MAX)),
  }),
]);

/** `slot` as the session numbers it: whether it has one is said in a sentence. */
const slotOrder = { session: z.string(), slot: z.int().check(z.minimum(0), z.maximum(255)) };

const request = z.discriminatedUnion("command", [
  z.strictObject({ command: z.literal("rotate-stream"), ...slotOrder }),
  z.strictObject({ command: z.literal("park-stream"), ...slotOrder }),
  z.strictObject({ command: z.literal("resume-stream"), ...slotOrder }),
  z.strictObject({
    command: z.literal("maintenance"),
    turn: z.enum(["on", "off", "status"]),
    reason: z.optional(z.string().check(z.maxLength(MAINTENANCE_REASON_CHARS_MAX))),
    abort: z.optional(z.boolean()),
  }),
  z.strictObject({ command: z.literal("status") }),
  z.strictObject({ command: z.literal("sessions") }),
  z.strictObject({ command: z.literal("history"), limit: rows, agent: z.optional(z.string()) }),
  z.strictObject({ command: z.literal("events"), limit: rows }),
  z.strictObject({ command: z.literal("abort"), session: z.string() }),
  z.strictObject({ command: z.literal("agents") }),
  z.strictObject({
    command: z.literal("revoke"),
    agent: name,
    atMs: z.int().check(z.minimum(0)),
    /** SHA-256 of those that begin later. */
    certificates: z.optional(z.array(z.string().check(z.regex(/^[0-9a-f]{64}$/))).check(z.maxLength(100))),
  }),
  z.strictObject({ command: z.literal("run"), agent: name, backup: name }),
  z.strictObject({
    command: z.literal("prune"),
    storages: z.array(pruneStorage).check(z.maxLength(1_000)),
    agent: z.optional(name),
    backup: z.optional(name),
    dryRun: z.boolean(),
  }),
  z.strictObject({
    command: z.literal("verified"),
    storage: name,
    baseDir: z.string(),
    /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
    archive: z.string(),
    /** Of the file that was read. */
    bytes: z.number(),
    mtimeMs: z.number(),
    by: z.enum(VERIFIERS),
    finding,
  }),
]);

export type AdminRequest = z.input<typeof request>;
type Verified = Extract<z.output<typeof request>, { readonly command: "verified" }>;
type Prune = Extract<z.output<typeof request>, { readonly command: "prune" }>;

export interface AdminOptions {
  readonly overview: Overview;
  readonly registry: Registry;
  readonly storages: StorageShelf;
  readonly metrics: ServerMetrics;
  readonly events: EventSink;
  readonly verifier: Pick<Verifier, "keep">;
  readonly orders: Orchestration;
  readonly control: Pick<ControlHub, "agents" | "run">;
  readonly revoke: RevocationGuard["revoke"];
  /** Agents that have a certificate and were never seen. */
  readonly unseen: () => readonly string[];
}

/** What only the process around the server knows. */
export interface AdminSurroundings {
  readonly pid: number;
  readonly reading: ConfigReading;
  readonly events: RecordStore<EventRecord>;
  readonly history: RecordStore<SessionRecord>;
}

export class Admin {
  readonly #options: AdminOptions;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  /** Sessions that run, for who steers them from inside the process. */
  running(): Iterable<Session> {
    return this.#options.registry.sessions();
  }

  /** The answer as a plain value. Rejects with Failure E_USAGE and what the commands say. */
  async handle(value: unknown, around: AdminSurroundings): Promise<unknown> {
    const parsed = z.safeParse(request, value);
    if (!parsed.success) {
      throw new Failure("E_USAGE", "the running server does not know this request", {
        hint: "Use the nbackup-server of the version that runs, or restart the server after an upgrade.",
      });
    }
    const wanted = parsed.data;
    const { orders } = this.#options;
    switch (wanted.command) {
      case "rotate-stream":
        return await orders.rotate(wanted.session, wanted.slot);
      case "park-stream":
        return orders.park(wanted.session, wanted.slot);
      case "resume-stream":
        return orders.resume(wanted.session, wanted.slot);
      case "maintenance":
        return await orders.maintain(wanted);
      case "status":
        return this.#status(around);
      case "sessions":
        return this.#options.overview.sessions();
      case "history": {
        const { agent, limit } = wanted;
        const records = around.history.newest(limit, (record) => agent === undefined || record.agent === agent);
        return records.map((record) => this.#judged(record));
      }
      case "events":
        return around.events.newest(wanted.limit);
      case "abort":
        return await this.#abort(wanted.session);
      case "agents":
        return this.#agents(around);
      case "run": {
        const { agent, backup } = wanted;
        const started: StartedView = { agent, backup, message: await this.#options.control.run(agent, backup) };
        return started;
      }
      case "revoke":
        return await this.#options.revoke(wanted.agent, wanted.atMs, wanted.certificates);
      case "prune":
        return await this.#prune(wanted);
      case "verified":
        return await this.#verified(wanted);
    }
  }

  #status({ pid, reading, events, history }: AdminSurroundings): ServerStatus {
    const lostRecords = {
      ...{ events: events.droppedLines, history: history.droppedLines },
      failing: events.failing || history.failing,
    };
    return { ...this.#options.overview.status(), pid, configuration: reading, lostRecords };
  }

  /** Connected ones, those seen since the start, those that the history knows, and those that have only enrolled. */
  #agents({ history }: AdminSurroundings): AgentView[] {
    const views = this.#options.control.agents();
    const names = new Set(views.map(({ agent }) => agent));
    for (const { agent, endWallMs } of history.newest(ROWS_MAX, () => true)) {
      if (agent === "" || names.has(agent)) continue;
      names.add(agent);
      views.push(absentAgent(agent, endWallMs));
    }
    for (const agent of this.#options.unseen()) if (!names.has(agent)) views.push(absentAgent(agent, null));
    return views.sort((a, b) => (a.agent < b.agent ? -1 : 1));
  }

  /** What is known by now of an archive whose verification was pending when its session ended. */
  #judged(record: SessionRecord): SessionRecord {
    if (record.session === null || record.verify !== "pending") return record;
    for (const storage of this.#options.storages.opened()) {
      const verified = storage.commitRecord(record.session)?.verified;
      if (verified !== undefined) return { ...record, verify: verified.result };
    }
    return record;
  }

  /** A command has read an archive, and may not write while this server has the storage. */
  async #verified({ storage, baseDir, archive, bytes, mtimeMs, by, finding: found }: Verified): Promise<RecordedView> {
    const { verifications } = await this.#opened(storage, baseDir);
    const recording = verifications.record(archive, { bytes, mtimeMs }, found, by);
    const counts = { archiveBytes: bytes, durationMs: undefined };
    return { recorded: await this.#options.verifier.keep({ storage, archive, by }, found, counts, recording) };
  }

  async #abort(id: string): Promise<AbortView> {
    const session = this.#options.registry.session(id);
    if (session === undefined) {
      throw new Failure("E_SESSION_GONE", `no session ${id} runs here`, {
        hint: "nbackup-server sessions lists those that run.",
      });
    }
    await session.end(new Failure("E_ABORTED", "aborted by an administrator of the server"));
    if (session.state === "suspended") {
      throw new Failure("E_SHUTDOWN", `the server is stopping and has left session ${id} on its disk`, {
        hint: "Abort it after the next start of the server.",
      });
    }
    return { session: id, outcome: session.state === "committed" ? "committed" : "aborted" };
  }

  /**
   * Storages one after another; one that cannot be pruned does not stop the others. What was removed is told at once, so that
   * a disk that fails or a server that stops in the middle hides none of it.
   */
  async #prune(wanted: Prune): Promise<PruneView> {
    const { agent, backup, dryRun } = wanted;
    const entries: PrunedView[] = [];
    const failures: PruneFailure[] = [];
    for (const { name: storage, baseDir, maxBackups, minAgeMs } of wanted.storages) {
      try {
        const opened = await this.#opened(storage, baseDir);
        await opened.prune({ agent, backup }, { maxBackups, minAgeMs }, dryRun, (entry) => {
          const view = prunedView(storage, entry);
          entries.push(view);
          if (!dryRun) this.#removed(view);
        });
      } catch (error) {
        failures.push(pruneFailure(storage, error));
      }
    }
    return { dryRun, entries, failures };
  }

  #removed(view: PrunedView): void {
    const removed = view.removed.map(({ archive }) => archive);
    if (removed.length === 0) return;
    this.#options.metrics.archivesRemoved(view.storage, removed.length);
    this.#options.events.emit(archivesRemoved("prune", view, removed));
  }

  /** The same name may mean another directory in a file that was changed since the server started. */
  #opened(storage: string, baseDir: string): ReturnType<StorageShelf["open"]> {
    if (this.#options.storages.config(storage).baseDir !== baseDir) {
      const text = `storage ${storage} of the running server is not ${baseDir}`;
      throw new Failure("E_USAGE", text, {
        hint: "Restart nbackup-server: the directory of a storage does not change by a reload.",
      });
    }
    return this.#options.storages.open(storage);
  }
}

/** As the command line and the page show it. */
export function prunedView(storage: string, { agent, backup, removed, stuck, keptCount }: PrunedEntry): PrunedView {
  return {
    ...{ storage, agent, backup, keptCount },
    removed: removed.map(({ archive, bytes }) => ({ archive, bytes })),
    stuck: stuck.map(({ archive }) => archive),
  };
}

export function pruneFailure(storage: string, error: unknown): PruneFailure {
  const { code, message, hint } = toFailure(error);
  return { storage, code, message, hint };
}

/**
 * How sessions go and went: looks at those that run once a second, keeps points and phases of each in memory, a snapshot of each in
 * `active_sessions_file` now and then, and one when it is over. After a start what was kept is there again, as coarse as the snapshots.
 * It costs nothing while nothing runs, and asks nobody for anything but plain values.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import type { ObservedEvent } from "./events.ts";
import type { LiveView } from "./live-view.ts";
import type { RecordStore } from "./record-store.ts";
import type { ActiveSnapshot } from "./session-points.ts";
import { SessionTrack } from "./session-track.ts";

const SAMPLE_MS = 1_000;
/** Sessions that are over and still have their points: about 60 kB each. */
const ENDED_MAX = 100;
/** Snapshots looked through at a start. */
const RELOADED_LINES_MAX = 20_000;
const TRAFFIC_STEP_MS = 10_000;
const TRAFFIC_POINTS_MAX = 360;

export interface TrafficPoint {
  readonly wallMs: number;
  readonly receivedRate: number;
  readonly writtenRate: number;
  readonly sessions: number;
}

export interface SessionSeriesOptions {
  readonly clock: Clock;
  readonly snapshots: Pick<RecordStore<ActiveSnapshot>, "add" | "newest">;
  readonly snapshotIntervalMs: number;
  readonly live: () => readonly LiveView[];
}

/** Which phase a session comes into by what is told of it. */
const PHASE_OF_EVENT: Readonly<Record<string, string>> = {
  "session.admitted": "receiving",
  "session.recovered": "parked",
  "session.parked": "parked",
  "session.resumed": "receiving",
};

export class SessionSeries {
  readonly #options: SessionSeriesOptions;
  readonly #running = new Map<string, SessionTrack>();
  /** The oldest first. */
  readonly #ended = new Map<string, SessionTrack>();
  /** Sessions by the archive that is being read again. */
  readonly #archives = new Map<string, string>();
  readonly #timers: Timer[] = [];
  #snapshotTimer: Timer | undefined;
  #snapshotIntervalMs: number;
  readonly #traffic: TrafficPoint[] = [];
  #sinceTraffic = { received: 0, written: 0, samples: 0 };
  #rates = { receivedRate: 0, writtenRate: 0 };

  constructor(options: SessionSeriesOptions) {
    this.#options = options;
    this.#snapshotIntervalMs = options.snapshotIntervalMs;
    const bySession = Map.groupBy(options.snapshots.newest(RELOADED_LINES_MAX).reverse(), ({ session }) => session);
    for (const lines of [...bySession.values()].slice(-ENDED_MAX)) {
      const [first, ...rest] = lines;
      if (first !== undefined) this.#ended.set(first.session, SessionTrack.from([first, ...rest]));
    }
  }

  /** `sampled` hears of each look. */
  start(sampled: () => void = () => undefined): void {
    const { clock } = this.#options;
    this.#timers.push(
      every(clock, SAMPLE_MS, () => {
        this.#sample();
        sampled();
      }),
      every(clock, TRAFFIC_STEP_MS, () => this.#addTraffic()),
    );
    this.#beginSnapshots();
  }

  /** This pause between snapshots counts from now on. */
  use(snapshotIntervalMs: number): void {
    if (snapshotIntervalMs === this.#snapshotIntervalMs) return;
    this.#snapshotIntervalMs = snapshotIntervalMs;
    if (this.#snapshotTimer !== undefined) this.#beginSnapshots();
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#snapshotTimer?.cancel();
    this.#snapshotTimer = undefined;
    this.#snapshot();
  }

  /** Of a session that runs, or is over and not forgotten. */
  of(session: string): SessionTrack | undefined {
    return this.#running.get(session) ?? this.#ended.get(session);
  }

  /** Of the whole server, over some seconds. */
  get rates(): { readonly receivedRate: number; readonly writtenRate: number } {
    return this.#rates;
  }

  /** The last hour, oldest first. */
  get traffic(): readonly TrafficPoint[] {
    return this.#traffic;
  }

  phase(session: string, phase: string): void {
    this.#running.get(session)?.enter(phase, this.#options.clock.wall());
  }

  /** What an event says of phases and ends. */
  note({ kind, fields, end }: ObservedEvent): void {
    const wallMs = this.#options.clock.wall();
    const session = fields["session"];
    const phase = PHASE_OF_EVENT[kind];
    if (phase !== undefined && typeof session === "string") this.#begun(session, fields).enter(phase, wallMs);
    if (typeof end?.session === "string") this.#over(end.session, end.archive, wallMs);
    const durationMs = fields["durationMs"];
    if ((kind === "archive.verified" || kind === "archive.damaged") && typeof durationMs === "number") {
      this.#verified(String(fields["archive"]), wallMs - durationMs, wallMs);
    }
  }

  #beginSnapshots(): void {
    this.#snapshotTimer?.cancel();
    this.#snapshotTimer = every(this.#options.clock, this.#snapshotIntervalMs, () => this.#snapshot());
  }

  #begun(session: string, fields: ObservedEvent["fields"]): SessionTrack {
    const known = this.of(session);
    const text = (name: string): string => String(fields[name] ?? "");
    const track =
      known ??
      new SessionTrack({
        ...{ session, agent: text("agent"), backup: text("backup"), storage: text("storage") },
        startWallMs: this.#options.clock.wall(),
      });
    // One of an earlier start goes on.
    this.#ended.delete(session);
    this.#running.set(session, track);
    return track;
  }

  #over(session: string, archive: string | null, wallMs: number): void {
    const track = this.#running.get(session);
    if (track === undefined) return;
    this.#running.delete(session);
    track.end(wallMs);
    this.#remember(session, track, wallMs);
    if (archive === null) return;
    this.#archives.set(archive, session);
    const [oldest] = this.#archives.keys();
    if (this.#archives.size > ENDED_MAX && oldest !== undefined) this.#archives.delete(oldest);
  }

  #remember(session: string, track: SessionTrack, wallMs: number): void {
    this.#ended.set(session, track);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > ENDED_MAX && oldest !== undefined) this.#ended.delete(oldest);
    const { last } = track;
    if (last !== undefined) this.#options.snapshots.add({ ...last, wallMs, state: "ended" });
  }

  #verified(archive: string, startWallMs: number, endWallMs: number): void {
    const session = this.#archives.get(archive);
    const track = session === undefined ? undefined : this.#ended.get(session);
    if (session === undefined || track === undefined) return;
    this.#archives.delete(archive);
    track.add({ phase: "verifying", startWallMs, endWallMs });
    const { last } = track;
    if (last !== undefined) this.#options.snapshots.add({ ...last, wallMs: endWallMs, state: "ended" });
  }

  #sample(): void {
    const { clock, live } = this.#options;
    const [nowMs, wallMs] = [clock.now(), clock.wall()];
    let [receivedRate, writtenRate] = [0, 0];
    for (const view of live()) {
      const { session } = view.view;
      const track = this.#running.get(session) ?? this.#begun(session, { ...view.view });
      track.sample(view, nowMs, wallMs);
      receivedRate += track.rates.receivedRate;
      writtenRate += track.rates.writtenRate;
    }
    this.#rates = { receivedRate: Math.round(receivedRate), writtenRate: Math.round(writtenRate) };
    this.#sinceTraffic.received += receivedRate;
    this.#sinceTraffic.written += writtenRate;
    this.#sinceTraffic.samples += 1;
  }

  #addTraffic(): void {
    const { received, written, samples } = this.#sinceTraffic;
    this.#sinceTraffic = { received: 0, written: 0, samples: 0 };
    const mean = (sum: number): number => (samples === 0 ? 0 : Math.round(sum / samples));
    this.#traffic.push({
      ...{ wallMs: this.#options.clock.wall(), receivedRate: mean(received), writtenRate: mean(written) },
      sessions: this.#running.size,
    });
    if (this.#traffic.length > TRAFFIC_POINTS_MAX) this.#traffic.shift();
  }

  #snapshot(): void {
    for (const { last } of this.#running.values()) if (last !== undefined) this.#options.snapshots.add(last);
  }
}

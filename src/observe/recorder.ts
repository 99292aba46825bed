/**
 * Where all events of the server go: each is a line of the log and a record among the events, and the end of a session or
 * a refusal is a record of the history too. Repeated ones are counted. It decides nothing about sessions.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { type EventSink, logEvents, type ObservedEvent } from "./events.ts";
import { plainFields } from "./log-fields.ts";
import type { LinesDisk } from "./lines-file.ts";
import { type EventRecord, parseEventRecord, parseSessionRecord, type SessionRecord } from "./records.ts";
import { RecordStore } from "./record-store.ts";
import { type RepeatLimits, Repeats } from "./repeats.ts";

/** Characters of a message or hint that a record keeps: some come from a peer. */
const TEXT_CHARACTERS_MAX = 2_000;
/** Names of removed archives in a record: a rotation that catches up may remove thousands. */
const REMOVED_MAX = 200;
/** Characters of an event's fields as JSON; larger ones are left out, their line in the log has them. */
const FIELDS_CHARACTERS_MAX = 16_000;

/** Of one key the first is told at once. */
const OF_ONE_KEY: RepeatLimits = {
  ...{ keyOf: ({ repeatKey }) => repeatKey, burst: 1, perPeriod: 1 },
  ...{ keysMax: 1_000, beyond: "counted by its kind" },
};

/**
 * Of what one agent brings about: all its backups may end at once, as on a full disk, and each is a record. One that goes on
 * so for ever has one record a minute.
 */
const ENDS_OF_AGENT: RepeatLimits = {
  ...{ keyOf: ({ byAgent }) => byAgent, burst: 256, perPeriod: 1 },
  ...{ keysMax: 10_000, beyond: "told" },
};

/** The same of what is no end, and so not in the history: a session has several of them, and each stream may add one. */
const EVENTS_OF_AGENT: RepeatLimits = { ...ENDS_OF_AGENT, burst: 1_024, perPeriod: 16 };

interface KeptFile {
  readonly path: string;
  readonly linesMax: number;
}

export interface RecorderOptions {
  readonly events: KeptFile;
  readonly history: KeptFile;
  readonly disk: LinesDisk;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Who hears of each record as it is kept. Must not throw. */
export interface RecordListener {
  event(record: EventRecord): void;
  ended(record: SessionRecord): void;
}

export class Recorder implements EventSink {
  readonly events: RecordStore<EventRecord>;
  readonly history: RecordStore<SessionRecord>;
  readonly #clock: Clock;
  readonly #log: EventSink;
  readonly #repeats: Repeats;
  readonly #ends: Repeats;
  readonly #others: Repeats;
  #listener: RecordListener | undefined;

  private constructor(options: RecorderOptions, events: RecordStore<EventRecord>, history: RecordStore<SessionRecord>) {
    this.#clock = options.clock;
    this.#log = logEvents(options.log);
    this.events = events;
    this.history = history;
    const { clock } = options;
    const record = (event: ObservedEvent, repeats: number): void => this.#record(event, repeats);
    this.#ends = new Repeats(clock, ENDS_OF_AGENT, record);
    this.#others = new Repeats(clock, EVENTS_OF_AGENT, record);
    this.#repeats = new Repeats(clock, OF_ONE_KEY, (event, repeats) => {
      (event.end === undefined ? this.#others : this.#ends).take(event, repeats);
    });
  }

  /** Reads what was kept before. Never rejects: what cannot be read is said in the log. */
  static async open(options: RecorderOptions): Promise<Recorder> {
    const { disk, clock, log } = options;
    let recorder: Recorder | undefined;
    const early: ObservedEvent[] = [];
    const tell = (event: ObservedEvent): void => {
      if (recorder === undefined) early.push(event);
      else recorder.emit(event);
    };
    const [events, history] = await Promise.all([
      RecordStore.open({ ...options.events, disk, clock, log, tell, parse: parseEventRecord }),
      RecordStore.open({ ...options.history, disk, clock, log, tell, parse: parseSessionRecord }),
    ]);
    recorder = new Recorder(options, events, history);
    for (const event of early) recorder.emit(event);
    return recorder;
  }

  /** One at a time; undefined: nobody any more. */
  listen(listener: RecordListener | undefined): void {
    this.#listener = listener;
  }

  emit(event: ObservedEvent): void {
    this.#releaseBefore(event);
    this.#repeats.take(event);
  }

  /** Writes what waits. Never rejects. */
  async close(): Promise<void> {
    for (const repeats of [this.#repeats, this.#ends, this.#others]) repeats.close();
    await Promise.all([this.events.close(), this.history.close()]);
  }

  /**
   * How a backup stands is told by its last end: a refusal that was counted must not come behind a success that followed it. Of what an agent
   * may cause without end, only what is committed brings it out of the second count.
   */
  #releaseBefore({ end, repeatKey }: ObservedEvent): void {
    if (end === undefined || repeatKey !== undefined) return;
    const { agent, backup, outcome } = end;
    const isMeant = (held: ObservedEvent): boolean => held.end?.agent === agent && held.end.backup === backup;
    this.#repeats.release(isMeant);
    if (outcome === "committed") this.#ends.release(isMeant);
  }

  #record(event: ObservedEvent, repeats: number): void {
    const { kind, level, end } = event;
    const wallMs = this.#clock.wall();
    const told: ObservedEvent = repeats === 0 ? event : { ...event, fields: { ...event.fields, repeats } };
    this.#log.emit(told);
    const record: EventRecord = {
      ...{ wallMs, kind, level, message: shortened(event.message) },
      fields: keptFields(told.fields),
    };
    this.events.add(record);
    this.#listener?.event(record);
    if (end === undefined) return;
    const ended: SessionRecord = {
      ...end,
      message: shortened(end.message),
      hint: end.hint === null ? null : shortened(end.hint),
      removed: end.removed.slice(0, REMOVED_MAX),
      endWallMs: wallMs,
      repeats,
    };
    this.history.add(ended);
    this.#listener?.ended(ended);
  }
}

function shortened(text: string): string {
  return text.length <= TEXT_CHARACTERS_MAX ? text : `${text.slice(0, TEXT_CHARACTERS_MAX)}…`;
}

/** As they stand in the log, secrets hidden. */
function keptFields(fields: ObservedEvent["fields"]): Record<string, unknown> {
  const plain = plainFields(fields);
  return JSON.stringify(plain).length <= FIELDS_CHARACTERS_MAX ? plain : { leftOut: "see the log" };
}

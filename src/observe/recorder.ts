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
import { Repeats } from "./repeats.ts";

/** Characters of a message or hint that a record keeps: some come from a peer. */
const TEXT_CHARACTERS_MAX = 2_000;
/** Names of removed archives in a record: a rotation that catches up may remove thousands. */
const REMOVED_MAX = 200;
/** Characters of an event's fields as JSON; larger ones are left out, their line in the log has them. */
const FIELDS_CHARACTERS_MAX = 16_000;

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

export class Recorder implements EventSink {
  readonly events: RecordStore<EventRecord>;
  readonly history: RecordStore<SessionRecord>;
  readonly #clock: Clock;
  readonly #log: EventSink;
  readonly #repeats: Repeats;

  private constructor(options: RecorderOptions, events: RecordStore<EventRecord>, history: RecordStore<SessionRecord>) {
    this.#clock = options.clock;
    this.#log = logEvents(options.log);
    this.events = events;
    this.history = history;
    this.#repeats = new Repeats(options.clock, (event, repeats) => this.#record(event, repeats));
  }

  /** Reads what was kept before. Never rejects: what cannot be read is said in the log. */
  static async open(options: RecorderOptions): Promise<Recorder> {
    const { disk, clock, log } = options;
    const [events, history] = await Promise.all([
      RecordStore.open({ ...options.events, disk, clock, log, parse: parseEventRecord }),
      RecordStore.open({ ...options.history, disk, clock, log, parse: parseSessionRecord }),
    ]);
    return new Recorder(options, events, history);
  }

  emit(event: ObservedEvent): void {
    this.#repeats.take(event);
  }

  /** Writes what waits. Never rejects. */
  async close(): Promise<void> {
    this.#repeats.close();
    await Promise.all([this.events.close(), this.history.close()]);
  }

  #record(event: ObservedEvent, repeats: number): void {
    const { kind, level, end } = event;
    const wallMs = this.#clock.wall();
    const told: ObservedEvent = repeats === 0 ? event : { ...event, fields: { ...event.fields, repeats } };
    this.#log.emit(told);
    this.events.add({ wallMs, kind, level, message: shortened(event.message), fields: keptFields(told.fields) });
    if (end === undefined) return;
    this.history.add({
      ...end,
      message: shortened(end.message),
      hint: end.hint === null ? null : shortened(end.hint),
      removed: end.removed.slice(0, REMOVED_MAX),
      endWallMs: wallMs,
      repeats,
    });
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

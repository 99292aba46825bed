/**
 * What a real agent and a real server say to each other, byte by byte and both ways, recorded from sessions in memory; and
 * how to spoil it: by bytes, by frames, by frames of other connections, with CRCs that are right all the same.
 */
import { crc32 } from "node:zlib";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import { askHealth } from "#agent/health.ts";
import type { Connection, Dialer } from "#net/connection.ts";
import { FRAME_TYPES } from "#wire/frame.ts";
import { FRAME_HEADER_BYTES } from "#wire/limits.ts";
import { AGENT_IDENTITY, agentParts, agentPlan, MadeUpProducer, SimNetwork } from "./agent-world.ts";
import { readStock } from "./read-kit.ts";
import { ServerWorld } from "./server-world.ts";

/** One connection: what the agent said on it, and what the server did. */
export interface Capture {
  readonly up: readonly Uint8Array[];
  readonly down: readonly Uint8Array[];
}

/** Keeps what passes. */
class RecordingDialer implements Dialer {
  readonly recorded: { readonly up: Uint8Array[]; readonly down: Uint8Array[] }[] = [];
  readonly #inner: Dialer;

  constructor(inner: Dialer) {
    this.#inner = inner;
  }

  async dial(signal?: AbortSignal): Promise<Connection> {
    const connection = await this.#inner.dial(signal);
    const record = { up: [] as Uint8Array[], down: [] as Uint8Array[] };
    this.recorded.push(record);
    return tapped(connection, {
      up: (bytes) => {
        const taken = connection.write(bytes);
        record.up.push(bytes.slice(0, taken));
        return taken;
      },
      down: (bytes, pass) => {
        record.down.push(bytes.slice());
        pass(bytes);
      },
    });
  }
}

export interface ConnectionTap {
  /** In place of `write`. */
  readonly up: (bytes: Uint8Array) => number;
  /** In place of the owner's `data`, which is `pass`. */
  readonly down: (bytes: Uint8Array, pass: (bytes: Uint8Array) => void) => void;
}

export function tapped(connection: Connection, tap: ConnectionTap): Connection {
  return {
    remoteAddress: connection.remoteAddress,
    localPort: connection.localPort,
    peer: () => connection.peer(),
    attach: (handlers) => {
      connection.attach({ ...bound(handlers), data: (bytes) => tap.down(bytes, (view) => handlers.data(view)) });
    },
    write: tap.up,
    pause: () => connection.pause(),
    resume: () => connection.resume(),
    end: () => connection.end(),
    destroy: () => connection.destroy(),
  };
}

function bound(handlers: Parameters<Connection["attach"]>[0]): Parameters<Connection["attach"]>[0] {
  return {
    data: (bytes) => handlers.data(bytes),
    drain: () => handlers.drain(),
    closed: (failure) => handlers.closed(failure),
  };
}

/** A session on one connection, one on three that are all cut once, one that waits in line, one that is interrupted, a health check, a restore. */
export async function recordCaptures(): Promise<Capture[]> {
  const world = await ServerWorld.start({ sessionsMax: 1 });
  const network = new SimNetwork(world);
  const dialer = new RecordingDialer(network);
  const { deps } = agentParts(world.clock, dialer, () => new MadeUpProducer(world.clock, lengths(40), 20));
  const never = new AbortController().signal;
  const run = (parallels: number, signal: AbortSignal = never): ReturnType<typeof runBackup> =>
    runBackup(deps, agentPlan({ parallels }), signal, () => undefined);
  await world.clock.until(run(0), 600_000);
  const broken = run(2);
  await world.clock.advance(400);
  network.cut();
  await world.clock.until(broken, 600_000);
  // The only place is taken: the run waits in line until it is free.
  const other = await world.session({}, { agent: "web-2" });
  const waiting = run(0);
  await world.clock.advance(12_000);
  other.link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
  await world.clock.until(waiting, 600_000);
  const stop = new AbortController();
  const interrupted = run(1, stop.signal);
  await world.clock.advance(300);
  stop.abort();
  await world.clock.until(interrupted, 600_000);
  await world.clock.until(askHealth({ clock: world.clock, dialer, identity: AGENT_IDENTITY }), 60_000);
  await recordReading(world, dialer);
  await world.clock.advance(60_000);
  await world.close();
  return dialer.recorded.map(({ up, down }) => ({
    up: framesOf(Buffer.concat(up)),
    down: framesOf(Buffer.concat(down)),
  }));
}

/** An archive listed, opened and read in part, and one that there is not. */
async function recordReading(world: ServerWorld, dialer: Dialer): Promise<void> {
  const { stock } = readStock(world.clock, dialer);
  const { rows } = await world.wait(stock.list({ facts: true }));
  const row = must(rows[0], "an archive");
  const opened = await world.wait(stock.open(row));
  await world.wait(opened.archive.read(new Uint8Array(1000), 0));
  await world.wait(opened.archive.read(new Uint8Array(1000), row.archiveBytes - 1000));
  await opened.close();
  await world.wait(stock.open({ ...row, name: "1970-01-01T00-00-00-000Z.tar.gz" }).catch(() => undefined));
  await stock.close();
}

/** Of all lengths, few and short enough that a run takes milliseconds. */
export function lengths(count: number): number[] {
  return Array.from({ length: count }, (_, n) => 1 + ((n * 7919) % (6 * KiB)));
}

/** The stream in whole frames; the last may be cut. */
export function framesOf(stream: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < stream.length;) {
    const whole = stream.length - at >= FRAME_HEADER_BYTES;
    const view = new DataView(stream.buffer, stream.byteOffset + at);
    const end = whole ? at + FRAME_HEADER_BYTES + view.getUint32(8) : stream.length;
    frames.push(Uint8Array.from(stream.subarray(at, end)));
    at = Math.min(end, stream.length);
  }
  return frames;
}

/** By bytes; by whole frames; `tweak`: one number in the frame is another one, and its CRC vouches for it. */
const KINDS = [
  ...(["flip", "set", "insert", "delete", "resize", "forge"] as const),
  ...(["cut", "duplicate", "drop", "swap", "graft", "tweak"] as const),
] as const;

/** What is done to a list of frames, by numbers that are taken modulo what there is. */
export interface Spoiling {
  readonly kind: (typeof KINDS)[number];
  readonly frame: number;
  readonly at: number;
  readonly byte: number;
}

function spoilingOf(...kinds: readonly Spoiling["kind"][]): fc.Arbitrary<Spoiling> {
  return fc.record({
    kind: fc.constantFrom(...kinds),
    frame: fc.nat(10_000),
    at: fc.nat(100_000),
    byte: fc.nat(255),
  });
}

export const anySpoiling: fc.Arbitrary<Spoiling> = spoilingOf(...KINDS);

/** What looks right to whoever checks frames alone. */
export const subtleSpoiling: fc.Arbitrary<Spoiling> = spoilingOf(
  "tweak",
  "tweak",
  "tweak",
  "duplicate",
  "drop",
  "graft",
);

/** The stream of bytes after all spoilings, in their order; `strange` are frames of other connections. */
export function spoil(
  frames: readonly Uint8Array[],
  spoilings: readonly Spoiling[],
  strange: readonly Uint8Array[],
): Uint8Array {
  const list = frames.map((frame) => Uint8Array.from(frame));
  for (const spoiling of spoilings) if (list.length > 0) spoilOnce(list, spoiling, strange);
  return new Uint8Array(Buffer.concat(list));
}

function spoilOnce(list: Uint8Array[], { kind, frame, at, byte }: Spoiling, strange: readonly Uint8Array[]): void {
  const index = frame % list.length;
  const chosen = must(list[index], "frame");
  const place = at % chosen.length;
  switch (kind) {
    case "duplicate":
      list.splice(index, 0, chosen);
      return;
    case "drop":
      list.splice(index, 1);
      return;
    case "swap": {
      const other = at % list.length;
      [list[index], list[other]] = [must(list[other], "frame"), chosen];
      return;
    }
    case "graft":
      list.splice(index, 0, must(strange[at % strange.length], "frame"));
      return;
    case "cut":
      list.splice(index, list.length, chosen.subarray(0, place));
      return;
    case "tweak":
      list[index] = tweaked(chosen, at, byte);
      return;
    default:
      list[index] = changed(chosen, kind, place, byte);
  }
}

function changed(frame: Uint8Array, kind: Spoiling["kind"], at: number, byte: number): Uint8Array {
  const bytes = Buffer.from(frame);
  const before = bytes[at] ?? 0;
  switch (kind) {
    case "flip":
      bytes[at] = before ^ (1 << (byte % 8));
      return Uint8Array.from(bytes);
    case "insert":
      return Uint8Array.from(Buffer.concat([bytes.subarray(0, at), Buffer.of(byte), bytes.subarray(at)]));
    case "delete":
      return Uint8Array.from(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]));
    case "resize":
      if (bytes.length >= FRAME_HEADER_BYTES) bytes.writeUInt32BE((byte * 0x1_01_01) >>> (at % 24), 8);
      return Uint8Array.from(bytes);
    case "forge":
      // Something else in the payload, or in a field of a Data frame's header, and a CRC that vouches for it.
      bytes[Math.max(at, bytes[4] === FRAME_TYPES.data ? 5 : FRAME_HEADER_BYTES)] = byte;
      if (bytes.length > FRAME_HEADER_BYTES) bytes.writeUInt32BE(crc32(bytes.subarray(FRAME_HEADER_BYTES)), 20);
      return Uint8Array.from(bytes);
    default:
      bytes[at] = byte;
      return Uint8Array.from(bytes);
  }
}

/** Slot, file, sequence, generation, offset of a Data frame: where the last byte of each stands. */
const DATA_FIELDS = [6, 7, 15, 19, 31] as const;

function tweaked(frame: Uint8Array, at: number, byte: number): Uint8Array {
  if (frame.length <= FRAME_HEADER_BYTES) return frame;
  if (frame[4] === FRAME_TYPES.data) {
    const bytes = Uint8Array.from(frame);
    const place = must(DATA_FIELDS[at % DATA_FIELDS.length], "field");
    bytes[place] = (bytes[place] ?? 0) + (byte % 2 === 0 ? 1 : 255);
    return bytes;
  }
  try {
    let left = at % Math.max(1, countNumbers(decode(frame.subarray(FRAME_HEADER_BYTES))));
    const change = (value: unknown): unknown => {
      if (typeof value === "number") {
        left -= 1;
        return left === -1 ? anotherNumber(value, byte) : value;
      }
      return mapped(value, change);
    };
    return withPayload(frame, encode(change(decode(frame.subarray(FRAME_HEADER_BYTES)))));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return frame; // It was spoiled before and is no msgpack any more.
  }
}

function anotherNumber(value: number, byte: number): number {
  const others = [value + 1, Math.max(0, value - 1), 0, value * 2, byte, 0xffff_ffff, 2 ** 40, value + byte];
  return must(others[byte % others.length], "number");
}

function countNumbers(value: unknown): number {
  let count = 0;
  const visit = (inner: unknown): unknown => {
    if (typeof inner === "number") count += 1;
    return mapped(inner, visit);
  };
  visit(value);
  return count;
}

function mapped(value: unknown, change: (inner: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(change);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, change(inner)]));
}

function withPayload(frame: Uint8Array, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.concat([frame.subarray(0, FRAME_HEADER_BYTES), payload]);
  bytes.writeUInt32BE(payload.length, 8);
  bytes.writeUInt32BE(crc32(payload), 20);
  return Uint8Array.from(bytes);
}

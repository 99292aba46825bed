/**
 * The connections of one session: its session connection, its streams in their slots, which of them are paused. It
 * knows what a connection carries, not what the session makes of it.
 */
import { must } from "#base/assert.ts";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { SlotView } from "#observe/views.ts";
import type { AnyMessage } from "#wire/messages.ts";
import type { ReceiveState } from "#wire/states.ts";
import { ChunkReceiver, type ReceiverHost } from "./chunk-receiver.ts";
import type { Link, LinkOwner } from "./link.ts";
import type { FlowSample } from "./flow-policy.ts";
import { SlotMeters } from "./slot-meters.ts";
import { type OrderHost, SlotOrders } from "./slot-orders.ts";
import { SlotTable } from "./slots.ts";

export interface ConnectionHost extends Omit<ReceiverHost, "arrived"> {
  readonly clock: Clock;
  /** On the session connection. Pings were answered already. */
  message(message: AnyMessage, link: Link): void;
  beat(link: Link): void;
  drained(): void;
  /**
   * A connection broke, or a stream said Goodbye (then without `failure`), because it was told to if `ordered`. `what` is
   * `session connection` or `stream 3`.
   */
  gone(what: string, failure: Failure | undefined, ordered: boolean): void;
  event(kind: string, message: string, fields: Record<string, unknown>): void;
}

interface Place {
  readonly link: Link;
  readonly generation: number;
  readonly receiver: ChunkReceiver;
}

export class SessionConnections {
  readonly slots: SlotTable;
  readonly meters: SlotMeters;
  readonly orders: SlotOrders;
  readonly #receiverHost: ReceiverHost;
  readonly #agent: string;
  readonly #host: ConnectionHost;
  readonly #dataOnMain: boolean;
  #main: Link | undefined;
  /** By slot. With parallels 0 the session connection stands in slot 0 too. */
  readonly #places = new Map<number, Place>();
  #paused = false;

  /** `parallels` 0: data on the session connection, as slot 0. */
  constructor(agent: string, parallels: number, host: ConnectionHost) {
    this.#agent = agent;
    this.#host = host;
    this.#dataOnMain = parallels === 0;
    this.slots = new SlotTable(Math.max(1, parallels));
    this.meters = new SlotMeters(this.slots.count);
    this.orders = new SlotOrders(this.#orderHost());
    this.#receiverHost = {
      store: () => host.store(),
      fail: (failure) => host.fail(failure),
      fed: () => host.fed(),
      arrived: (slot, bytes) => this.meters.arrived(slot, bytes, host.clock.now()),
      fate: (fate, header) => {
        if (fate === "received" || fate === "duplicate") this.meters.chunk(header.slot, fate);
        host.fate(fate, header);
      },
    };
  }

  /** Of the streams that are up and are to stay, for flow-policy.ts. */
  samples(): FlowSample[] {
    const staying = [...this.#places].filter(([slot]) => !this.orders.isParked(slot));
    return staying.map(([slot, { generation, receiver }]) => {
      return { slot, generation, bytes: this.meters.of(slot).bytes, busy: receiver.busy };
    });
  }

  views(nowMs: number): SlotView[] {
    return this.slots.view().map(({ slot, state, generation, reconnects, rotations }) => {
      const { bytes, chunks, duplicateChunks, bytesPerSecond, lastByteAtMs } = this.meters.of(slot);
      const link = this.stream(slot);
      return {
        ...{ slot, state, parked: this.orders.isParked(slot), generation, reconnects, rotations },
        ...{ bytes, chunks, duplicateChunks, bytesPerSecond: Math.round(bytesPerSecond) },
        rttMs: link?.rttMs ?? null,
        remotePort: link === undefined ? null : Number(link.remoteAddress.split(":").at(-1)),
        lastByteAgeMs: lastByteAtMs === undefined ? null : nowMs - lastByteAtMs,
      };
    });
  }

  get main(): Link | undefined {
    return this.#main;
  }

  /** True while the connections that carry data are not read. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Every connection once. */
  all(): Link[] {
    const links = new Set([...this.#places.values()].map((place) => place.link));
    if (this.#main !== undefined) links.add(this.#main);
    return [...links];
  }

  get none(): boolean {
    return this.#main === undefined && this.#places.size === 0;
  }

  /** The session connection when it is up, else a stream that takes frames, else any. */
  carrier(): Link | undefined {
    if (this.#main !== undefined) return this.#main;
    const streams = [...this.#places.values()].map((place) => place.link);
    return streams.find((link) => !link.blocked) ?? streams[0];
  }

  stream(slot: number): Link | undefined {
    return this.#places.get(slot)?.link;
  }

  /** Throws Failure E_PROTOCOL when the session has no such slot for a stream, E_LIMIT when the slot is disabled. */
  checkSlot(slot: number): void {
    if (this.#dataOnMain)
      throw new Failure("E_PROTOCOL", "the session has no streams: its data goes over its own connection");
    if (!this.slots.has(slot)) {
      throw new Failure("E_PROTOCOL", `slot ${slot} of a session with slots 0 to ${this.slots.count - 1}`);
    }
    if (this.slots.state(slot) === "disabled" || this.orders.isParked(slot)) {
      throw new Failure("E_LIMIT", `slot ${slot} is parked`, {
        hint: "The server took the slot out of use until it says otherwise.",
        retry: false,
      });
    }
  }

  /**
   * A session connection takes its place, which must be free. The answer is the generation of slot 0 where data comes on
   * it too, else 0.
   */
  attachMain(link: Link, finishing: boolean): number {
    const label = `agent ${this.#agent}, session connection`;
    this.#main = link;
    if (!this.#dataOnMain) {
      const state = finishing ? "server/finishing" : "server/session";
      link.hand(this.#owner(link, "session connection", undefined), state, label);
      return 0;
    }
    if (!finishing) return this.#seat(link, 0, "server/session-data", label, "session connection");
    // Nothing is stored any more: the receiver reads and drops what comes.
    const generation = this.slots.generation(0);
    const receiver = new ChunkReceiver(this.#receiverHost, 0, generation);
    link.hand(this.#owner(link, "session connection", receiver), "server/finishing-data", label);
    return generation;
  }

  /** A stream takes its slot, which must be free and pass `checkSlot`. The answer is its new generation. */
  attachStream(link: Link, slot: number): number {
    return this.#seat(link, slot, "server/stream", `agent ${this.#agent}, slot ${slot}`, `stream ${slot}`);
  }

  /** Stops reading what carries data. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    for (const place of this.#places.values()) place.link.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    for (const place of this.#places.values()) place.link.resume();
  }

  /** Lets go of all connections, which the caller closes; half-received chunks are given up. */
  release(): Link[] {
    const links = this.all();
    for (const place of this.#places.values()) place.receiver.abort();
    this.#places.clear();
    this.#main = undefined;
    return links;
  }

  /** Closes a connection whose place a newer one takes; it counts as broken. */
  replace(link: Link): void {
    link.destroy();
    this.#remove(link, "broke");
  }

  #seat(link: Link, slot: number, state: ReceiveState, label: string, what: string): number {
    const generation = must(this.slots.join(slot), `generation of slot ${slot}`);
    const receiver = new ChunkReceiver(this.#receiverHost, slot, generation);
    this.#places.set(slot, { link, generation, receiver });
    link.hand(this.#owner(link, what, receiver), state, label);
    if (this.#paused) link.pause();
    this.orders.joined(slot, link);
    return generation;
  }

  #owner(link: Link, what: string, receiver: ChunkReceiver | undefined): LinkOwner {
    return {
      message: (message) => {
        if (message.type === "goodbye") this.#goodbye(link, what);
        else this.#host.message(message, link);
      },
      beat: () => this.#host.beat(link),
      drained: () => this.#host.drained(),
      gone: (failure) => {
        this.#remove(link, "broke");
        this.#host.gone(what, failure ?? new Failure("E_DISCONNECTED", "the agent closed the connection"), false);
      },
      ...(receiver === undefined ? {} : { data: receiver }),
    };
  }

  #goodbye(link: Link, what: string): void {
    const slot = [...this.#places].find(([, place]) => place.link === link)?.[0];
    link.end();
    this.#remove(link, "goodbye");
    this.#host.gone(
      what,
      undefined,
      slot !== undefined && (this.orders.isRotating(slot) || this.orders.isParked(slot)),
    );
  }

  #orderHost(): OrderHost {
    return {
      clock: this.#host.clock,
      slots: this.slots,
      dataOnMain: this.#dataOnMain,
      main: () => this.#main,
      receiving: () => this.#host.store() !== undefined || this.none,
      stream: (slot) => this.stream(slot),
      event: (kind, message, fields) => this.#host.event(kind, message, fields),
    };
  }

  #remove(link: Link, how: "goodbye" | "broke"): void {
    if (this.#main === link) this.#main = undefined;
    for (const [slot, place] of this.#places) {
      if (place.link !== link) continue;
      must(this.#places.get(slot), `slot ${slot}`).receiver.abort();
      this.#places.delete(slot);
      this.slots.leave(slot, place.generation, how);
      this.orders.left(slot);
    }
  }
}

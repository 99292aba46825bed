/**
 * Decides for a running session which of its streams carry data and when a connection is exchanged: by the autoscaler, by
 * `port_rotation`, and by orders of the server. It measures the windows and tells the links; the rules are autoscaler*.ts.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { AutoScalerConfig, PortRotationConfig } from "#config/types.ts";
import type { SendWindow } from "#window/send-window.ts";
import {
  drainRate,
  producedRate,
  SCALE_START,
  type ScaleSample,
  type ScaleState,
  type ScaleStep,
  windowIsFull,
} from "./autoscaler.ts";
import { adaptiveStep } from "./autoscaler-adaptive.ts";
import { efficiencyStep } from "./autoscaler-efficiency.ts";
import type { Message } from "#wire/messages.ts";
import type { DataSlot } from "./data-slot.ts";
import type { AutoscalerProgress, SlotActivity } from "./session-progress.ts";

/** What it may do to the session's connections. */
export interface StreamControl {
  setActive(slot: number, active: boolean): void;
  /** False when there is no connection to be exchanged. */
  rotate(slot: number): boolean;
  activity(slot: number): SlotActivity;
}

export interface StreamDirectorOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly window: SendWindow;
  readonly slots: readonly DataSlot[];
  /** The session connection carries the data as slot 0. */
  readonly dataOnSession: boolean;
  readonly autoScaler: AutoScalerConfig;
  readonly portRotation: PortRotationConfig;
  readonly links: StreamControl;
  /** All was made and given to streams: no connection is worth being exchanged any more. */
  readonly nearlyDone: () => boolean;
  /** Finish was said, or the session is over. */
  readonly finished: () => boolean;
}

/** At most this part of the streams is away at once because of `port_rotation`, and at least one may be. */
const AWAY_SHARE_MAX = 0.25;

/** Of the debug line that each window leaves. */
export const WINDOW_MESSAGE = "autoscaler window";

export const STEPS: Readonly<Record<AutoScalerConfig["mode"], ScaleStep>> = {
  efficiency: efficiencyStep,
  adaptive: adaptiveStep,
};

interface Totals {
  readonly atMs: number;
  readonly producedBytes: number;
  readonly waitingBytes: number;
  readonly blockedMs: number;
  readonly acknowledgedBytes: number;
  readonly acknowledgedChunks: number;
  readonly busyMs: number;
  readonly heldMs: number;
}

export class StreamDirector {
  readonly #options: StreamDirectorOptions;
  /** Slots that the server wants none of. */
  readonly #parkedByServer = new Set<number>();
  /** When the server last said of a slot that it is free; a refusal from before is out of date, one at a time. */
  readonly #freedAtMs = new Map<number, number>();
  /** Slots whose connection is being exchanged because of `port_rotation`. */
  readonly #away = new Set<number>();
  #beingTold = false;
  #scale: ScaleState = SCALE_START;
  #begun: Totals | undefined;
  #stalled = false;
  #producedBytes = 0;
  #acknowledgedChunks = 0;
  #blockedMs = 0;
  #blockedSinceMs: number | undefined;
  #rates: { readonly produced: number; readonly drain: number } | undefined;

  constructor(options: StreamDirectorOptions) {
    this.#options = options;
  }

  /** How many streams are to carry data, those that the server has parked included where there are no others. */
  get active(): number {
    const { autoScaler, slots, dataOnSession } = this.#options;
    if (!autoScaler.enabled || dataOnSession) return slots.length;
    return Math.min(this.#scale.active, this.#max);
  }

  // What happens in the session.

  /** The producer asked for room, and whether it got it. */
  reserved(given: boolean): boolean {
    const now = this.#options.clock.now();
    if (!given) this.#blockedSinceMs ??= now;
    else if (this.#blockedSinceMs !== undefined) {
      this.#blockedMs += now - this.#blockedSinceMs;
      this.#blockedSinceMs = undefined;
    }
    return given;
  }

  produced(storedBytes: number): void {
    this.#producedBytes += storedBytes;
  }

  acknowledged(chunks: number): void {
    this.#acknowledgedChunks += chunks;
  }

  /** A chunk went out whole on the slot's connection. */
  chunkEnded(slot: DataSlot): void {
    const { portRotation, slots, links } = this.#options;
    if (portRotation.mode === "off" || slot.chunksOnConnection < portRotation.chunksPerCycle) return;
    if (this.#options.nearlyDone()) return;
    for (const away of this.#away) if (!this.#isAway(away)) this.#away.delete(away);
    if (this.#away.size >= Math.max(1, Math.floor(slots.length * AWAY_SHARE_MAX))) return;
    if (links.rotate(slot.slot)) this.#away.add(slot.slot);
  }

  /** The server wants something of a slot: PROTOCOL.md "Orchestration". After Finish nothing is sent that it could be about. */
  order({ slot, order, reason }: Message<"slotOrder">): void {
    const { log, links, slots, dataOnSession, finished } = this.#options;
    if (finished()) return;
    if (slot >= slots.length || (dataOnSession && order !== "rotate")) {
      log.warn("the server ordered what this session cannot do", { slot, order, reason });
      return;
    }
    log.info("the server has an order for a slot", { slot, order, reason });
    if (order === "rotate") links.rotate(slot);
    else if (order === "park") this.#parkedByServer.add(slot);
    else this.#free([slot]);
    if (!this.#beingTold) this.#apply();
  }

  /** The session connection is back: first come the orders that stand, and all earlier ones are void. */
  resumed(phase: "welcomed" | "told"): void {
    this.#beingTold = phase === "welcomed";
    if (this.#beingTold) this.#free(this.#options.slots.map(({ slot }) => slot));
    else this.#apply();
  }

  /**
   * The server refused the slot's stream until it says otherwise. It may have done so meanwhile, on the session connection, which
   * is faster: then the stream, begun at `askedAtMs`, is tried once more.
   */
  unwanted(slot: number, askedAtMs: number): void {
    const { log, links } = this.#options;
    const freedAtMs = this.#freedAtMs.get(slot) ?? Number.NEGATIVE_INFINITY;
    this.#freedAtMs.delete(slot);
    if (askedAtMs <= freedAtMs && !this.#parkedByServer.has(slot)) {
      log.debug("a refusal of the slot is out of date", { slot });
      // From the beginning: it is at rest until it is wanted anew.
      links.setActive(slot, false);
    } else {
      log.info("the server has parked the slot", { slot });
      this.#parkedByServer.add(slot);
    }
    this.#apply();
  }

  /** Called a few times a second. */
  tick(stalled: boolean): void {
    const { autoScaler, dataOnSession, slots } = this.#options;
    if (!autoScaler.enabled || dataOnSession || slots.length === 1) return;
    this.#stalled ||= stalled;
    const begun = this.#begun;
    const now = this.#totals();
    this.#begun ??= now;
    if (begun === undefined) return;
    const sample = this.#sample(begun, now);
    const { active } = this;
    if (!windowIsFull(sample, active)) return;
    this.#begun = now;
    this.#stalled = stalled;
    this.#rates = { produced: producedRate(sample) * 1000, drain: drainRate(sample, active) * 1000 };
    this.#scale = STEPS[autoScaler.mode]({ ...this.#scale, active }, sample, this.#max);
    // All that the rules go by: who wonders about a link can have them judge it again (scripts/record-links.ts).
    this.#options.log.debug(WINDOW_MESSAGE, { ...sample, active, next: this.active, state: this.#scale.phase });
    if (this.active !== active) this.#changed(active);
  }

  progress(): AutoscalerProgress | undefined {
    const { autoScaler, dataOnSession } = this.#options;
    if (dataOnSession) return undefined;
    return {
      ...{ mode: autoScaler.mode, enabled: autoScaler.enabled, active: this.active, max: this.#max },
      state: autoScaler.enabled ? this.#scale.phase : "frozen",
      producedRate: finite(this.#rates?.produced),
      drainRate: finite(this.#rates?.drain),
    };
  }

  #free(slots: readonly number[]): void {
    const now = this.#options.clock.now();
    for (const slot of slots) {
      this.#parkedByServer.delete(slot);
      this.#freedAtMs.set(slot, now);
    }
  }

  get #max(): number {
    return Math.max(1, this.#options.slots.length - this.#parkedByServer.size);
  }

  #changed(before: number): void {
    this.#options.log.info("the number of streams changes", {
      ...{ before, now: this.active, max: this.#max, state: this.#scale.phase },
      producedRate: Math.round(finite(this.#rates?.produced) ?? 0),
      drainRate: Math.round(finite(this.#rates?.drain) ?? 0),
    });
    this.#apply();
  }

  /** The first slots that the server has not parked are the active ones. */
  #apply(): void {
    if (this.#options.finished()) return;
    let wanted = this.active;
    for (const { slot } of this.#options.slots) {
      const isActive = wanted > 0 && !this.#parkedByServer.has(slot);
      if (isActive) wanted -= 1;
      this.#options.links.setActive(slot, isActive);
    }
  }

  #isAway(slot: number): boolean {
    const activity = this.#options.links.activity(slot);
    return activity === "draining" || activity === "idle";
  }

  #totals(): Totals {
    const { clock, window, slots } = this.#options;
    const atMs = clock.now();
    const blockedNowMs = this.#blockedSinceMs === undefined ? 0 : atMs - this.#blockedSinceMs;
    return {
      atMs,
      producedBytes: this.#producedBytes,
      waitingBytes: window.freshBytes,
      blockedMs: this.#blockedMs + blockedNowMs,
      acknowledgedBytes: window.receivedBytes,
      acknowledgedChunks: this.#acknowledgedChunks,
      busyMs: slots.reduce((sum, { meter }) => sum + meter.busyMs(atMs), 0),
      heldMs: slots.reduce((sum, { meter }) => sum + meter.heldMs(atMs), 0),
    };
  }

  #sample(from: Totals, to: Totals): ScaleSample {
    return {
      durationMs: to.atMs - from.atMs,
      producedBytes: to.producedBytes - from.producedBytes,
      waitingBytes: from.waitingBytes,
      blockedMs: to.blockedMs - from.blockedMs,
      acknowledgedBytes: to.acknowledgedBytes - from.acknowledgedBytes,
      acknowledgedChunks: to.acknowledgedChunks - from.acknowledgedChunks,
      busyMs: to.busyMs - from.busyMs,
      heldMs: to.heldMs - from.heldMs,
      stalled: this.#stalled,
      up: this.#options.slots.filter((slot) => slot.isUp).length,
    };
  }
}

function finite(rate: number | undefined): number | undefined {
  return rate === undefined || !Number.isFinite(rate) ? undefined : rate;
}

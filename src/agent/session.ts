/**
 * One session, from Admitted to its end: chunks from the producer into the window, from the window over the slots to the
 * server, acknowledgements back, connections kept up, Finish. PROTOCOL.md "A session". It starts nothing by itself
 * again: what ends it rejects `run`, and backup-run.ts decides.
 */
import type { BackoffLimits } from "#base/backoff.ts";
import type { FileNumber, Problem, SealedChunk } from "#base/chunk.ts";
import { every, type Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { SendWindow } from "#window/send-window.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { AdmissionDeps } from "./admission.ts";
import { ProofBuilder } from "./archive-proof.ts";
import { DataSlot } from "./data-slot.ts";
import type { FrameLink } from "./frame-link.ts";
import { failureOf, type LinkTarget, type OpenedLink } from "./handshake.ts";
import { MovingAverage } from "./moving-average.ts";
import type { Producer, ReadSummary } from "./producer.ts";
import { Reconnector } from "./reconnector.ts";
import { shouldRescue } from "./rescue.ts";
import type { Throttle } from "./throttle.ts";

export interface SessionOptions {
  readonly deps: AdmissionDeps;
  readonly admitted: Message<"admitted">;
  /** The connection it was admitted on. */
  readonly link: FrameLink;
  readonly producer: Producer;
  readonly throttle: Throttle;
  readonly windowBytes: number;
  /** 0: the session connection carries the data as slot 0. */
  readonly streams: number;
  readonly backoff: BackoffLimits;
  readonly giveUpAfterMs: number;
  readonly onProblems: (problems: readonly Problem[]) => void;
}

/** `reading`: chunks are still being made. `sending`: all are made. `finishing`: the server has all and was asked to commit. */
export type SessionPhase = "reading" | "sending" | "finishing" | "ended";

export interface SessionProgress {
  readonly phase: SessionPhase;
  /** What the server is doing after Finish, bytes. */
  readonly serverPhase: Message<"phase"> | undefined;
  readonly entries: number;
  readonly rawBytes: number;
  /** Stored bytes made so far, and how many of them are durable on the server. */
  readonly storedBytes: number;
  readonly durableBytes: number;
  readonly resentBytes: number;
  readonly windowBytes: number;
  readonly reconnects: number;
  readonly streamsUp: number;
  readonly rttMs: number | undefined;
  /** Where the reader is, raw bytes. */
  readonly currentPath: Uint8Array;
}

export interface SessionEnd {
  readonly committed: Message<"committed">;
  readonly summary: ReadSummary;
}

const TICK_MS = 250;

export class AgentSession {
  readonly #options: SessionOptions;
  readonly #window: SendWindow;
  readonly #proofs: readonly [ProofBuilder, ProofBuilder] = [new ProofBuilder(0), new ProofBuilder(1)];
  readonly #slots: DataSlot[] = [];
  readonly #reconnectors: Reconnector[] = [];
  readonly #sessionReconnector: Reconnector;
  readonly #tripMs = new MovingAverage();
  readonly #end = Promise.withResolvers<SessionEnd>();
  #link: FrameLink | undefined;
  #sessionReconnects = 0;
  #phase: SessionPhase = "reading";
  #serverPhase: Message<"phase"> | undefined;
  #summary: ReadSummary | undefined;
  #finish: Message<"finish"> | undefined;
  #durableBytes = 0;
  #progressAtMs: number;
  #ticker: Timer | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#window = new SendWindow(options.windowBytes);
    this.#progressAtMs = options.deps.clock.now();
    this.#sessionReconnector = this.#reconnector(
      { role: "session", session: this.id },
      "session connection",
      (opened) => this.#resumed(opened),
    );
    const shared = { clock: options.deps.clock, window: this.#window, throttle: options.throttle };
    for (let slot = 0; slot < Math.max(1, options.streams); slot += 1) this.#slots.push(new DataSlot(slot, shared));
  }

  get admitted(): Message<"admitted"> {
    return this.#options.admitted;
  }

  get id(): string {
    return this.#options.admitted.session;
  }

  /** Must be called in the turn of Admitted. Resolves when the archive is committed; rejects with what ended the session. */
  run(signal: AbortSignal): Promise<SessionEnd> {
    const { link, admitted, deps, producer } = this.#options;
    this.#ticker = every(deps.clock, TICK_MS, () => this.#tick());
    this.#adopt(link, () => undefined);
    if (this.#options.streams === 0) this.#slots[0]?.up(link, admitted.slotGeneration);
    else for (const slot of this.#slots) this.#startStream(slot);
    const interrupt = (): void => this.#giveUp(new Failure("E_INTERRUPTED", "interrupted"));
    signal.addEventListener("abort", interrupt, { once: true });
    producer.start({
      reserve: (storedBytesMax) => this.#window.reserve(storedBytesMax),
      chunk: (chunk) => this.#take(chunk),
      problems: (problems) => this.#options.onProblems(problems),
      end: (summary) => this.#readingEnded(summary),
      failed: (failure) => this.#giveUp(failure),
    });
    if (signal.aborted) interrupt();
    return this.#end.promise.finally(() => signal.removeEventListener("abort", interrupt));
  }

  progress(): SessionProgress {
    const read = this.#options.producer.progress();
    return {
      phase: this.#phase,
      serverPhase: this.#serverPhase,
      entries: read.entries,
      rawBytes: read.rawBytes,
      storedBytes: this.#proofs[0].bytes,
      durableBytes: this.#durableBytes,
      resentBytes: this.#window.resentBytes,
      windowBytes: this.#window.usedBytes,
      reconnects: this.#slots.reduce((sum, slot) => sum + slot.reconnects, this.#sessionReconnects),
      streamsUp: this.#slots.filter((slot) => slot.state === "up").length,
      rttMs: this.#link?.rtt.value,
      currentPath: read.currentPath,
    };
  }

  // From the producer.

  #take(chunk: SealedChunk): void {
    const held = this.#window.append(chunk);
    this.#proofs[chunk.file].add(held, chunk.stored);
    this.#wakeSlots();
  }

  #readingEnded(summary: ReadSummary): void {
    this.#summary = summary;
    this.#phase = "sending";
    this.#finishWhenReceived();
  }

  // Connections.

  /** Makes `link` the session connection; `carries` is what to do when the server's first Sack on it is in. */
  #adopt(link: FrameLink, firstSack: () => void): void {
    this.#link = link;
    link.handle({
      message: this.#messagesOf(link, firstSack),
      closed: (failure) => {
        if (this.#link !== link) return;
        this.#link = undefined;
        if (this.#options.streams === 0) this.#slots[0]?.down();
        if (this.#phase === "ended") return;
        this.#sessionReconnects += 1;
        this.#sessionReconnector.lost(
          failure ?? new Failure("E_DISCONNECTED", "the server closed the session connection"),
        );
      },
    });
  }

  #resumed({ link, welcome }: OpenedLink): void {
    link.enter("agent/session");
    this.#options.deps.log.info("session resumed", { session: this.id, generation: welcome.generation });
    this.#adopt(link, () => {
      if (this.#options.streams === 0) this.#slots[0]?.up(link, welcome.slotGeneration);
    });
  }

  #startStream(slot: DataSlot): void {
    const name = `stream ${slot.slot}`;
    const up = ({ link, welcome }: OpenedLink): void => {
      link.enter("agent/stream");
      link.handle({
        message: this.#messagesOf(link, () => slot.up(link, welcome.slotGeneration)),
        closed: (failure) => {
          const requeued = slot.down();
          if (this.#phase === "ended") return;
          const reason = failure ?? new Failure("E_DISCONNECTED", `the server closed ${name}`);
          this.#options.deps.log.warn("stream lost", {
            slot: slot.slot,
            requeued,
            code: reason.code,
            reason: reason.message,
          });
          this.#wakeSlots();
          reconnector.lost(reason);
        },
      });
    };
    const reconnector = this.#reconnector({ role: "stream", session: this.id, slot: slot.slot }, name, up);
    this.#reconnectors.push(reconnector);
    reconnector.start();
  }

  /**
   * No Data goes out on a new connection before the Sack that follows Welcome has said what the server holds: else all
   * that was under way when the last one broke would be sent again.
   */
  #messagesOf(link: FrameLink, firstSack: () => void): (message: AnyMessage) => void {
    let waiting = true;
    return (message) => {
      this.#message(message, link);
      if (!waiting || message.type !== "sack" || this.#phase === "ended") return;
      waiting = false;
      firstSack();
    };
  }

  #reconnector(target: LinkTarget, name: string, up: (opened: OpenedLink) => void): Reconnector {
    const { deps, backoff } = this.#options;
    return new Reconnector({
      deps,
      target,
      backoff,
      link: { name, pingFacts: () => this.#pingFacts() },
      up,
      retrying: (failure, delayMs) => {
        deps.log.warn("connection lost, trying again", {
          connection: name,
          code: failure.code,
          reason: failure.message,
          delayMs: Math.round(delayMs),
        });
      },
      gaveUp: (failure) => {
        // Only the session connection decides what became of the session; a stream that hears of its end asks it to look.
        if (target.role === "session" || failure.code === "E_PROTOCOL") this.#fail(failure);
        else this.#sessionReconnector.nudge();
      },
    });
  }

  #pingFacts(): { entries: number; rawBytes: number } {
    const read = this.#options.producer.progress();
    return { entries: read.entries, rawBytes: read.rawBytes };
  }

  // From the server.

  #message(message: AnyMessage, link: FrameLink): void {
    switch (message.type) {
      case "sack":
        this.#acknowledged(message.body, link);
        break;
      case "phase":
        this.#serverPhase = message.body;
        this.#progressed();
        break;
      case "committed":
        this.#committed(message.body);
        break;
      case "ended":
      case "refused":
        if (link === this.#link) this.#fail(failureOf(message.body));
        else link.destroy(failureOf(message.body));
        break;
      default:
        break;
    }
  }

  #acknowledged(sack: Message<"sack">, link: FrameLink): void {
    let result: ReturnType<SendWindow["acknowledge"]>;
    try {
      result = this.#window.acknowledge(sack, this.#options.deps.clock.now());
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      link.destroy(error);
      this.#giveUp(error);
      return;
    }
    if (result.receivedChunks > 0) this.#tripMs.add(result.tripMs / result.receivedChunks);
    this.#durableBytes += result.durableBytes;
    if (sack.lost.length > 0) this.#options.deps.log.warn("the server asks for chunks again", { chunks: sack.lost });
    if (result.durableChunks > 0 || result.receivedChunks > 0) this.#progressed();
    if (result.durableChunks > 0) this.#options.producer.poke();
    if (result.requeuedChunks > 0) this.#wakeSlots();
    this.#finishWhenReceived();
  }

  #progressed(): void {
    this.#progressAtMs = this.#options.deps.clock.now();
    this.#sessionReconnector.progressed();
    for (const reconnector of this.#reconnectors) reconnector.progressed();
  }

  // The end.

  /** Sends Finish when the server has everything; again on each new session connection until it is answered. */
  #finishWhenReceived(): void {
    const summary = this.#summary;
    if (summary === undefined || this.#window.unreceivedChunks > 0 || this.#phase === "ended") return;
    const first = this.#finish === undefined;
    this.#finish ??= this.#finishMessage(summary);
    this.#phase = "finishing";
    if (this.#link === undefined || (!first && this.#finishSentOn === this.#link)) return;
    this.#finishSentOn = this.#link;
    this.#link.send("finish", this.#finish);
  }
  #finishSentOn: FrameLink | undefined;

  #finishMessage(summary: ReadSummary): Message<"finish"> {
    const files = ([0, 1] as const).filter((file: FileNumber) => file === 0 || this.#proofs[file].bytes > 0);
    return {
      files: files.map((file) => this.#proofs[file].finish()),
      entries: summary.entries,
      rawBytes: summary.rawBytes,
      problems: summary.problemCount,
    };
  }

  #committed(committed: Message<"committed">): void {
    const summary = this.#summary;
    if (summary === undefined || this.#finish === undefined) {
      this.#fail(new Failure("E_PROTOCOL", "the server committed a session that was not finished"));
      return;
    }
    this.#close(true);
    this.#end.resolve({ committed, summary });
  }

  /** The agent's own decision: tells the server, which cleans up at once. */
  #giveUp(failure: Failure): void {
    if (this.#phase === "ended") return;
    this.#link?.send("disown", { code: failure.code, message: failure.message });
    this.#fail(failure);
  }

  #fail(failure: Failure): void {
    if (this.#phase === "ended") return;
    this.#close(false);
    this.#end.reject(failure);
  }

  #close(orderly: boolean): void {
    this.#phase = "ended";
    this.#ticker?.cancel();
    this.#options.throttle.stop();
    this.#sessionReconnector.stop();
    for (const reconnector of this.#reconnectors) reconnector.stop();
    for (const slot of this.#slots) slot.finish({ goodbye: orderly && this.#options.streams > 0 });
    this.#link?.end();
  }

  // Time.

  #tick(): void {
    const now = this.#options.deps.clock.now();
    if (now - this.#progressAtMs > this.#options.giveUpAfterMs && this.#waitingForServer()) {
      this.#giveUp(
        new Failure("E_GIVE_UP", `no progress for ${Math.round((now - this.#progressAtMs) / 60_000)} minutes`),
      );
      return;
    }
    this.#rescue(now);
  }

  #waitingForServer(): boolean {
    return this.#window.heldChunks > 0 || this.#phase === "finishing";
  }

  #rescue(nowMs: number): void {
    const oldest = this.#window.oldestUnreceived();
    const idle = this.#slots.find((slot) => slot.idle && oldest?.carriers.has(slot.slot) === false);
    if (idle === undefined || oldest === undefined) return;
    const due = shouldRescue({
      windowUsedBytes: this.#window.usedBytes,
      windowCapacityBytes: this.#window.capacityBytes,
      readingEnded: this.#summary !== undefined,
      waitedMs: nowMs - oldest.sentAtMs,
      rttMs: this.#link?.rtt.value ?? 0,
      usualMs: this.#tripMs.value ?? 0,
    });
    if (due) idle.rescue(oldest);
  }

  #wakeSlots(): void {
    for (const slot of this.#slots) slot.wake();
  }
}

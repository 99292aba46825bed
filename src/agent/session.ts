/**
 * One session, from Admitted to its end: chunks from the producer into the window, acknowledgements back, Finish, and what
 * ends it. PROTOCOL.md "A session". Its connections are session-links.ts; it starts nothing by itself again: what ends
 * it rejects `run`, and backup-run.ts decides.
 */
import { must } from "#base/assert.ts";
import type { BackoffLimits } from "#base/backoff.ts";
import type { FileNumber, Problem, SealedChunk } from "#base/chunk.ts";
import { every, type Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { AckResult } from "#window/acknowledgement.ts";
import { SendWindow } from "#window/send-window.ts";
import { disownFields } from "#wire/failure.ts";
import { SILENCE_MAX_MS } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { AutoScalerConfig, PortRotationConfig } from "#config/types.ts";
import type { AdmissionDeps } from "./admission.ts";
import { ProofBuilder } from "./archive-proof.ts";
import { DataSlot } from "./data-slot.ts";
import { disownSession } from "./farewell.ts";
import type { FrameLink } from "./frame-link.ts";
import { MovingAverage } from "#base/moving-average.ts";
import type { Producer, ReadSummary } from "./producer.ts";
import { shouldRescue } from "./rescue.ts";
import { SessionLinks } from "./session-links.ts";
import type { SessionEnd, SessionPhase, SessionProgress, VerifyEnd } from "./session-progress.ts";
import { StreamDirector } from "./stream-director.ts";
import type { Throttle } from "./throttle.ts";
import { verifyFailure } from "./verify-failure.ts";

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
  /** Mark of the packets of what carries data. */
  readonly dscp?: number | undefined;
  readonly autoScaler: AutoScalerConfig;
  readonly portRotation: PortRotationConfig;
  readonly backoff: BackoffLimits;
  readonly giveUpAfterMs: number;
  /** Where the server verifies after the commit, stay until it has. */
  readonly waitVerify: boolean;
  readonly onProblems: (problems: readonly Problem[]) => void;
}

const TICK_MS = 250;

/** Chunks named in one line of the log. */
const LOST_NAMED_MAX = 16;

export class AgentSession {
  readonly #options: SessionOptions;
  readonly #window: SendWindow;
  readonly #links: SessionLinks;
  readonly #slots: readonly DataSlot[];
  readonly #director: StreamDirector;
  readonly #proofs: readonly [ProofBuilder, ProofBuilder] = [new ProofBuilder(0), new ProofBuilder(1)];
  readonly #tripMs = new MovingAverage();
  readonly #end = Promise.withResolvers<SessionEnd>();
  #phase: SessionPhase = "reading";
  #serverPhase: Message<"phase"> | undefined;
  /** The server is not reading because its disk is behind. */
  #stalled = false;
  #summary: ReadSummary | undefined;
  #finish: Message<"finish"> | undefined;
  #finishSentOn: FrameLink | undefined;
  /** The commit stands: whatever else happens, this is how the session ends. */
  #done: Omit<SessionEnd, "verify"> | undefined;
  #durableBytes = 0;
  /** When the server last did something for the session, or had nothing to do. */
  #progressAtMs: number;
  #ticker: Timer | undefined;

  constructor(options: SessionOptions) {
    const { deps, producer, streams, throttle, backoff, autoScaler, portRotation } = options;
    this.#options = options;
    this.#window = new SendWindow(options.windowBytes);
    this.#window.welcome(options.link.boot, options.admitted.generation);
    this.#progressAtMs = deps.clock.now();
    const chunkEnded = (slot: DataSlot): void => this.#director.chunkEnded(slot);
    const shared = { clock: deps.clock, window: this.#window, throttle, chunkEnded };
    this.#slots = Array.from({ length: Math.max(1, streams) }, (_, slot) => new DataSlot(slot, shared));
    this.#director = new StreamDirector({
      ...{ clock: deps.clock, log: deps.log, window: this.#window, slots: this.#slots, autoScaler, portRotation },
      dataOnSession: streams === 0,
      links: {
        setActive: (slot, active) => this.#links.setActive(slot, active),
        rotate: (slot) => this.#links.rotate(slot),
        activity: (slot) => this.#links.activity(slot),
      },
      nearlyDone: () => this.#summary !== undefined && !this.#window.hasQueued,
      finished: () => this.#finish !== undefined || this.#over,
    });
    this.#links = new SessionLinks({
      deps,
      session: this.id,
      slots: this.#slots,
      dataOnSession: streams === 0,
      dscp: options.dscp,
      active: this.#director.active,
      backoff,
      pingFacts: () => {
        const { entries, rawBytes } = producer.progress();
        return { entries, rawBytes };
      },
      welcomed: ({ boot, generation }) => this.#window.welcome(boot, generation),
      stalled: () => this.#stalled,
      message: (message) => this.#message(message),
      resumed: (phase) => this.#director.resumed(phase),
      unwanted: (slot, askedAtMs) => this.#director.unwanted(slot, askedAtMs),
      over: (failure) => this.#giveUp(failure, "known"),
    });
  }

  get admitted(): Message<"admitted"> {
    return this.#options.admitted;
  }

  get id(): string {
    return this.#options.admitted.session;
  }

  /** Must be called in the turn of Admitted. Resolves when the archive is committed, or with `waitVerify` verified; rejects with what ended the session. */
  run(signal: AbortSignal): Promise<SessionEnd> {
    const { link, admitted, deps } = this.#options;
    this.#ticker = every(deps.clock, TICK_MS, () => this.#tick());
    this.#links.start(link, admitted.slotGeneration);
    const interrupt = (): void => this.#giveUp(new Failure("E_INTERRUPTED", "interrupted"));
    signal.addEventListener("abort", interrupt, { once: true });
    this.#startProducer();
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
      storedBytes: this.#proofs[0].bytes + this.#proofs[1].bytes,
      durableBytes: this.#durableBytes,
      resentBytes: this.#window.resentBytes,
      windowBytes: this.#window.usedBytes,
      reconnects: this.#links.lostCount,
      streamsUp: this.#slots.filter((slot) => slot.isUp).length,
      streams: this.#links.slots(),
      autoscaler: this.#director.progress(),
      rttMs: this.#links.session?.rtt.value,
      currentPath: read.currentPath,
    };
  }

  // From the producer.

  #startProducer(): void {
    try {
      this.#options.producer.start({
        reserve: (storedBytesMax) => !this.#over && this.#director.reserved(this.#window.reserve(storedBytesMax)),
        chunk: (chunk) => this.#take(chunk),
        problems: (problems) => this.#options.onProblems(problems),
        end: (summary) => this.#readingEnded(summary),
        failed: (failure) => this.#giveUp(failure),
      });
    } catch (error) {
      this.#giveUp(toFailure(error));
    }
  }

  /** A producer may hand over what it has in hand for a while after the end. */
  get #over(): boolean {
    return this.#phase === "ended";
  }

  #take(chunk: SealedChunk): void {
    if (this.#over) return;
    const held = this.#window.append(chunk);
    this.#proofs[chunk.file].add(held, chunk.stored);
    this.#director.produced(held.storedLength);
    this.#links.wake();
  }

  #readingEnded(summary: ReadSummary): void {
    if (this.#over) return;
    this.#summary = summary;
    this.#phase = "sending";
    this.#finishWhenReceived();
  }

  // From the server.

  #message(message: AnyMessage): void {
    if (this.#over) return;
    if (message.type === "sack") this.#acknowledged(message.body);
    else if (message.type === "phase") this.#phaseOfServer(message.body);
    else if (message.type === "committed") this.#committed(message.body);
    else if (message.type === "verified") this.#verified(message.body);
    else if (message.type === "slotOrder") this.#director.order(message.body);
  }

  #acknowledged(sack: Message<"sack">): void {
    let result: ReturnType<SendWindow["acknowledge"]>;
    try {
      result = this.#window.acknowledge(sack, this.#options.deps.clock.now());
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#giveUp(error);
      return;
    }
    this.#stalled = sack.stalled;
    if (result.receivedChunks > 0) this.#tripMs.add(result.tripMs / result.receivedChunks);
    this.#durableBytes += result.durableBytes;
    this.#director.acknowledged(result.newChunks);
    if (result.lost.length > 0) this.#askedAgain(result.lost);
    if (result.durableChunks > 0 || result.newChunks > 0) this.#progressed("acknowledged");
    if (result.durableChunks > 0) this.#options.producer.poke();
    if (result.requeuedChunks > 0) this.#links.wake();
    this.#finishWhenReceived();
  }

  /** Said again without a change it is a sign of life, and no progress. */
  #phaseOfServer(phase: Message<"phase">): void {
    const before = this.#serverPhase;
    this.#serverPhase = phase;
    if (before?.phase !== phase.phase || before.done !== phase.done) this.#progressed("phase");
  }

  /** The counters of the connections go back for what was acknowledged alone: a phase is told to each one that comes. */
  #progressed(how: "acknowledged" | "phase"): void {
    this.#progressAtMs = this.#options.deps.clock.now();
    if (how === "acknowledged") this.#links.progressed();
  }

  #askedAgain(chunks: AckResult["lost"]): void {
    const named = chunks.slice(0, LOST_NAMED_MAX).map(({ file, sequence, offset, storedLength }) => ({
      ...{ file, sequence, offset, storedLength },
    }));
    const more = chunks.length - named.length;
    this.#options.deps.log.warn("the server asks for chunks again", {
      session: this.id,
      chunks: named,
      ...(more > 0 ? { more } : {}),
    });
  }

  // The end.

  /** Sends Finish when the server has everything; again on each new session connection until it is answered. */
  #finishWhenReceived(): void {
    const summary = this.#summary;
    if (summary === undefined || !this.#window.allReceived || this.#over) return;
    if (this.#done !== undefined) return;
    this.#finish ??= this.#finishMessage(summary);
    this.#phase = "finishing";
    const link = this.#links.session;
    if (link === undefined || this.#finishSentOn === link) return;
    this.#finishSentOn = link;
    link.send("finish", this.#finish);
  }

  #finishMessage(summary: ReadSummary): Message<"finish"> {
    const files = ([0, 1] as const).filter((file: FileNumber) => file === 0 || this.#proofs[file].bytes > 0);
    return {
      files: files.map((file) => this.#proofs[file].finish()),
      entries: summary.entries,
      rawBytes: summary.rawBytes,
      problems: summary.problemCount,
      ...(summary.unread === undefined ? {} : { unread: [...summary.unread] }),
    };
  }

  #committed(committed: Message<"committed">): void {
    const summary = this.#summary;
    const archive = this.#finish?.files[0];
    if (summary === undefined || archive === undefined) {
      this.#giveUp(new Failure("E_PROTOCOL", "the server committed a session that was not finished"));
      return;
    }
    const same = committed.bytes === archive.bytes && Buffer.compare(committed.sha256, archive.sha256) === 0;
    if (!same || committed.session !== this.id) {
      this.#giveUp(new Failure("E_MISMATCH", `the server says that it committed something else: ${committed.archive}`));
      return;
    }
    this.#done = { committed, summary };
    if (committed.verify === undefined) this.#resolve({ state: "none", failure: undefined });
    else if (!this.#options.waitVerify) this.#resolve({ state: "pending", failure: undefined });
    else this.#waitForVerify();
  }

  /** Said again on every connection that comes while it waits. */
  #waitForVerify(): void {
    if (this.#phase === "verifying") return;
    this.#phase = "verifying";
    this.#progressAtMs = this.#options.deps.clock.now();
    for (const slot of this.#slots) slot.stop();
    this.#links.closeStreams();
  }

  #verified({ session, result, message }: Message<"verified">): void {
    if (this.#phase !== "verifying" || session !== this.id) return;
    this.#resolve({ state: result, failure: verifyFailure(result, message) });
  }

  /** The archive is committed, whatever is known of it beyond that. */
  #resolve(verify: VerifyEnd): void {
    const done = must(this.#done, "what was committed");
    this.#close(true);
    this.#end.resolve({ ...done, verify });
  }

  /**
   * Ends the session and tells the server, which cleans up at once. When the end is `known` there, because it ended the
   * session itself or has none, it is told only if the session connection is up.
   */
  #giveUp(failure: Failure, there: "unknown" | "known" = "unknown"): void {
    if (this.#over) return;
    if (this.#phase === "verifying") {
      this.#resolve({ state: "unknown", failure });
      return;
    }
    const link = this.#links.session;
    link?.send("disown", disownFields(failure));
    this.#close(false);
    const told = link !== undefined || there === "known";
    const farewell = told ? Promise.resolve() : disownSession(this.#options.deps, this.id, failure);
    void farewell.then(() => this.#end.reject(failure));
  }

  #close(orderly: boolean): void {
    this.#phase = "ended";
    this.#ticker?.cancel();
    // In this order: what has begun goes out unthrottled, nothing begins, and the last words follow.
    for (const slot of this.#slots) slot.stop();
    this.#options.throttle.stop();
    this.#links.close(orderly);
  }

  // Time.

  #tick(): void {
    const now = this.#options.deps.clock.now();
    // A reader that finds nothing for a day is no fault of the server.
    if (!this.#waitingForServer()) this.#progressAtMs = now;
    if (now - this.#progressAtMs > this.#options.giveUpAfterMs) {
      const minutes = Math.round((now - this.#progressAtMs) / 60_000);
      this.#giveUp(new Failure("E_GIVE_UP", `no progress for ${minutes} minutes`));
      return;
    }
    if (this.#phase === "reading" || this.#phase === "sending") this.#director.tick(this.#stalled);
    if (!this.#stalled) this.#rescue(now);
  }

  #waitingForServer(): boolean {
    // A verification takes what it takes, and stands behind others: as long as the server is there it goes on.
    if (this.#phase === "verifying") return this.#links.session === undefined;
    return this.#window.heldChunks > 0 || this.#phase === "finishing";
  }

  #rescue(nowMs: number): void {
    const oldest = this.#window.oldestUnreceived();
    if (oldest === undefined) return;
    const waitedMs = nowMs - oldest.sentAtMs;
    const idle =
      this.#slots.find((slot) => slot.idle && !oldest.carriers.has(slot.slot)) ??
      // A word of the server that it was lost may have been lost itself: then who sent it sends it again.
      this.#slots.find((slot) => slot.idle && waitedMs > SILENCE_MAX_MS);
    if (idle === undefined) return;
    const due = shouldRescue({
      windowUsedBytes: this.#window.usedBytes,
      windowCapacityBytes: this.#window.capacityBytes,
      readingEnded: this.#summary !== undefined,
      waitedMs,
      rttMs: this.#links.session?.rtt.value ?? 0,
      usualMs: this.#tripMs.value ?? 0,
      limitedMs: this.#director.active * this.#options.throttle.durationMs(oldest.storedLength),
      carriers: Math.max(1, oldest.carriers.size),
    });
    if (due) idle.rescue(oldest);
  }
}

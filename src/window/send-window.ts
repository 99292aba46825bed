/**
 * The send window: every chunk stays here, in memory, from when it was compressed until the server has it durably. One
 * per session, whatever the number of streams. Any stream may carry any chunk; what a dead stream carried goes back
 * to the front of the queue. It decides what is to be sent, not by whom, and it neither sends nor waits.
 *
 * A chunk's life: queued ⇄ sent (by one or more carriers) → received → durable (gone). `received` goes back to queued
 * only when the server says so: another boot or generation, or `lost`. Which boot and generation is the newest its Welcomes
 * say: a Sack of an older one, read late, tells only what is durable.
 */
import { assert, must } from "#base/assert.ts";
import { windowChunksMax } from "#base/chunk-size.ts";
import type { FileNumber, SealedChunk } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { type Acknowledgement, type AckResult, everyFile } from "./acknowledgement.ts";
import type { HeldChunk, WindowChunk } from "./held-chunk.ts";
import { ResendQueue } from "./resend-queue.ts";
import { ByteRing } from "./ring.ts";
import { ServerStarts } from "./server-starts.ts";
import { emptyFile, type WindowFile } from "./window-file.ts";

/** Stands for all streams that were closed in order, among the carriers of a chunk. No slot has this number. */
const DEPARTED = 256;

export class SendWindow {
  readonly capacityBytes: number;
  readonly #chunksMax: number;
  readonly #ring: ByteRing;
  readonly #files: readonly [WindowFile, WindowFile] = [emptyFile(), emptyFile()];
  /** In order of appending; freed from the front as far as all are durable. */
  readonly #fifo: HeldChunk[] = [];
  #fifoStart = 0;
  /** Chunks to be sent for the first time: the ones from this index of #fifo on. */
  #freshIndex = 0;
  readonly #again = new ResendQueue();
  readonly #reservations: number[] = [];
  #reservedBytes = 0;
  #nextOrder = 0;
  #unreceived = 0;
  #resentBytes = 0;
  #freshBytes = 0;
  #receivedBytes = 0;
  /** Of the acknowledgement under way. */
  #tripMs = 0;
  #newChunks = 0;
  #nowMs = 0;
  readonly #starts = new ServerStarts();

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
    this.#chunksMax = windowChunksMax(capacityBytes);
    this.#ring = new ByteRing(capacityBytes);
  }

  /** Bytes held and promised. */
  get usedBytes(): number {
    return this.#ring.usedBytes + this.#reservedBytes;
  }

  get heldChunks(): number {
    return this.#fifo.length - this.#fifoStart;
  }

  /** The server has all that was given to the window, by the word of its newest start and generation, or for ever. */
  get allReceived(): boolean {
    return this.#unreceived === 0 && (this.heldChunks === 0 || this.#starts.isHeard);
  }

  /** Stored bytes given to a stream again after the first time. */
  get resentBytes(): number {
    return this.#resentBytes;
  }

  /** Stored bytes that no stream was given yet. */
  get freshBytes(): number {
    return this.#freshBytes;
  }

  /** Stored bytes that the server has said to have, each counted once. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Whether `next` would return a chunk. */
  get hasQueued(): boolean {
    return this.#again.length > 0 || this.#freshIndex < this.#fifo.length;
  }

  /** The server introduced itself on a new connection: as ServerStarts tells it. */
  welcome(boot: string, generation: number): ReturnType<ServerStarts["welcome"]> {
    const which = this.#starts.welcome(boot, generation);
    if (which === "restarted") this.carrierLost(DEPARTED);
    return which;
  }

  /** Promises room for the next chunk, at most `storedBytesMax` long. False: not now. Never more than the capacity. */
  reserve(storedBytesMax: number): boolean {
    assert(
      storedBytesMax <= this.capacityBytes,
      `chunk of up to ${storedBytesMax} bytes in a window of ${this.capacityBytes}`,
    );
    if (this.usedBytes + storedBytesMax > this.capacityBytes) return false;
    if (this.heldChunks + this.#reservations.length >= this.#chunksMax) return false;
    this.#reservations.push(storedBytesMax);
    this.#reservedBytes += storedBytesMax;
    return true;
  }

  /** Copies the chunk in, on the oldest reservation, and queues it. */
  append(chunk: SealedChunk): WindowChunk {
    const reserved = must(this.#reservations.shift(), "reservation");
    this.#reservedBytes -= reserved;
    assert(chunk.stored.length <= reserved, `chunk of ${chunk.stored.length} bytes on a reservation of ${reserved}`);
    const file = this.#files[chunk.file];
    const held: HeldChunk = {
      file: chunk.file,
      sequence: chunk.sequence,
      offset: file.nextOffset,
      storedLength: chunk.stored.length,
      rawLength: chunk.rawLength,
      kind: chunk.kind,
      crc: chunk.crc,
      digest: chunk.digest.slice(),
      last: chunk.last ?? false,
      order: this.#nextOrder,
      position: this.#ring.append(chunk.stored),
      state: "queued",
      carriers: new Set(),
      sentAtMs: 0,
      everSent: false,
      everReceived: false,
      inResendQueue: false,
    };
    file.chunks.push(held);
    file.nextOffset += held.storedLength;
    this.#nextOrder += 1;
    this.#unreceived += 1;
    this.#freshBytes += held.storedLength;
    this.#fifo.push(held);
    return held;
  }

  /** Takes the most urgent queued chunk for the stream `carrier`: what must be sent again first, else the oldest. */
  next(carrier: number, nowMs: number): WindowChunk | undefined {
    const again = this.#again.take();
    const chunk = again ?? this.#fifo[this.#freshIndex];
    if (chunk === undefined) return undefined;
    if (again === undefined) {
      this.#freshIndex += 1;
      this.#freshBytes -= chunk.storedLength;
    }
    this.#give(chunk, carrier, nowMs);
    return chunk;
  }

  /** Gives a chunk that streams carry already to `carrier` as well: one slow stream must not hold up the rest. */
  sendAlso(chunk: WindowChunk, carrier: number, nowMs: number): void {
    const held = must(this.#held(chunk.file, chunk.sequence), "chunk to send also");
    assert(held.state === "sent", `chunk ${chunk.sequence} is ${held.state}, not to be sent by ${carrier} as well`);
    this.#give(held, carrier, nowMs);
  }

  /** The oldest chunk that was sent and is not yet received; undefined when there is none. */
  oldestUnreceived(): WindowChunk | undefined {
    for (let i = this.#fifoStart; i < this.#freshIndex; i += 1) {
      const chunk = this.#fifo[i];
      if (chunk !== undefined && chunk.state === "sent") return chunk;
    }
    return undefined;
  }

  /** How many chunks the stream `carrier` was given that the server has not said to have. */
  underWay(carrier: number): number {
    let count = 0;
    for (let i = this.#fifoStart; i < this.#freshIndex; i += 1) {
      const chunk = this.#fifo[i];
      if (chunk !== undefined && chunk.state === "sent" && chunk.carriers.has(carrier)) count += 1;
    }
    return count;
  }

  /** True while the window holds the chunk: what a stream is half-way through may have become durable by another. */
  holds(chunk: WindowChunk): boolean {
    return this.#held(chunk.file, chunk.sequence) !== undefined;
  }

  /** A view of up to `length` stored bytes of a chunk that the window holds, from `at` on; may be shorter, never empty. */
  bytes(chunk: WindowChunk, at: number, length: number): Uint8Array {
    return this.#ring.view(chunk.position + at, Math.min(length, chunk.storedLength - at));
  }

  /** The stream is gone: what only it carried is queued again, in front. Returns how many. */
  carrierLost(carrier: number): number {
    let count = 0;
    for (let i = this.#fifoStart; i < this.#freshIndex; i += 1) {
      const chunk = this.#fifo[i];
      if (chunk === undefined || !chunk.carriers.delete(carrier)) continue;
      if (chunk.state === "sent" && chunk.carriers.size === 0) {
        this.#again.add(chunk);
        count += 1;
      }
    }
    return count;
  }

  /**
   * The stream was closed in order, so that the server has read all that it carried: that is on its way to being
   * acknowledged, and nothing is queued. A chunk that is not acknowledged all the same becomes overdue, as on a slow stream.
   */
  carrierLeft(carrier: number): void {
    for (let i = this.#fifoStart; i < this.#freshIndex; i += 1) {
      const chunk = this.#fifo[i];
      if (chunk === undefined || !chunk.carriers.delete(carrier)) continue;
      if (chunk.state === "sent") chunk.carriers.add(DEPARTED);
    }
  }

  /** The stream was given the chunk by `sendAlso`, and will not send it. */
  takeBack(chunk: WindowChunk, carrier: number): void {
    const held = this.#held(chunk.file, chunk.sequence);
    if (held === undefined || !held.carriers.delete(carrier)) return;
    if (held.state === "sent" && held.carriers.size === 0) this.#again.add(held);
  }

  /** Takes the server's word. Throws Failure E_PROTOCOL when it acknowledges what was never sent. */
  acknowledge(ack: Acknowledgement, nowMs: number): AckResult {
    const unreceivedBefore = this.#unreceived;
    this.#tripMs = 0;
    this.#newChunks = 0;
    this.#nowMs = nowMs;
    let durableChunks = 0;
    let durableBytes = 0;
    const which = this.#starts.sack(ack.boot, ack.generation);
    // Of a late one only what is durable counts, for that is for ever.
    const stale = which === "stale";
    const fresh = which === "fresh";
    const lost = stale ? [] : this.#takeLost(ack.lost);
    let requeuedChunks = lost.length;
    for (const said of fresh ? everyFile(ack.files) : ack.files) {
      const state = this.#files[said.file];
      this.#checkDurable(said.file, state, said.durableChunks, fresh);
      while (state.chunks.first < said.durableChunks) {
        const chunk = must(state.chunks.shift(), "durable chunk");
        if (chunk.state !== "received") this.#markReceived(chunk);
        durableChunks += 1;
        durableBytes += chunk.storedLength;
        state.durableBytes = chunk.offset + chunk.storedLength;
      }
      if (state.durableBytes !== said.durableBytes && said.durableChunks === state.chunks.first) {
        throw new Failure(
          "E_PROTOCOL",
          `file ${said.file} is said to be durable up to byte ${said.durableBytes}, which is ${state.durableBytes} here`,
        );
      }
      if (!stale) requeuedChunks += this.#applyReceived(said.file, state, said.received, fresh);
    }
    this.#free();
    this.#check();
    return {
      durableChunks,
      durableBytes,
      receivedChunks: Math.max(0, unreceivedBefore - this.#unreceived),
      tripMs: this.#tripMs,
      newChunks: this.#newChunks,
      requeuedChunks,
      // What was lost may have arrived again since: then the same Sack calls it received, and that counts.
      lost: lost.filter((chunk) => chunk.state === "queued"),
    };
  }

  #takeLost(named: Acknowledgement["lost"]): HeldChunk[] {
    const lost: HeldChunk[] = [];
    for (const [file, sequence] of named) {
      const chunk = this.#held(file, sequence);
      if (chunk === undefined || chunk.state === "queued") continue;
      if (chunk.state === "received") this.#unreceived += 1;
      chunk.carriers.clear();
      this.#again.add(chunk);
      lost.push(chunk);
    }
    return lost;
  }

  #checkDurable(file: FileNumber, state: WindowFile, durableChunks: number, fresh: boolean): void {
    // Within a boot and generation a lower number is just an older Sack that came by another connection.
    if (fresh && durableChunks < state.chunks.first) {
      throw new Failure(
        "E_SESSION_GONE",
        `the server holds ${durableChunks} chunks of file ${file}, it had acknowledged ${state.chunks.first} as durable`,
      );
    }
    if (durableChunks > state.chunks.next) {
      throw new Failure(
        "E_PROTOCOL",
        `file ${file} has ${state.chunks.next} chunks, ${durableChunks} are said to be durable`,
      );
    }
    for (let sequence = state.chunks.first; sequence < durableChunks; sequence += 1) {
      const chunk = state.chunks.get(sequence);
      if (chunk !== undefined && !chunk.everSent) {
        throw new Failure("E_PROTOCOL", `chunk ${sequence} of file ${file} is said to be durable but was never sent`);
      }
    }
  }

  /** Marks the chunks in the ranges received; in a new boot or generation the others are no longer. */
  #applyReceived(
    file: FileNumber,
    state: WindowFile,
    ranges: readonly (readonly [number, number])[],
    fresh: boolean,
  ): number {
    let requeued = 0;
    if (fresh) {
      const inRanges = (n: number): boolean => ranges.some(([first, last]) => n >= first && n <= last);
      for (const chunk of state.chunks) {
        if (chunk.state !== "received" || inRanges(chunk.sequence)) continue;
        this.#unreceived += 1;
        chunk.carriers.clear();
        this.#again.add(chunk);
        requeued += 1;
      }
    }
    for (const [first, last] of ranges) {
      if (last < first || last >= state.chunks.next) {
        throw new Failure(
          "E_PROTOCOL",
          `file ${file} has ${state.chunks.next} chunks, ${first} to ${last} are said to be received`,
        );
      }
      for (let sequence = Math.max(first, state.chunks.first); sequence <= last; sequence += 1) {
        const chunk = this.#held(file, sequence);
        if (chunk === undefined || chunk.state === "received") continue;
        if (!chunk.everSent)
          throw new Failure(
            "E_PROTOCOL",
            `chunk ${sequence} of file ${file} is said to be received but was never sent`,
          );
        this.#markReceived(chunk);
      }
    }
    return requeued;
  }

  #held(file: FileNumber, sequence: number): HeldChunk | undefined {
    return this.#files[file].chunks.get(sequence);
  }

  #give(chunk: HeldChunk, carrier: number, nowMs: number): void {
    if (chunk.everSent) {
      this.#resentBytes += chunk.storedLength;
    }
    chunk.everSent = true;
    chunk.state = "sent";
    chunk.carriers.add(carrier);
    chunk.sentAtMs = nowMs;
  }

  #markReceived(chunk: HeldChunk): void {
    if (chunk.state === "queued") this.#again.noLongerNeeded();
    else this.#tripMs += this.#nowMs - chunk.sentAtMs;
    chunk.state = "received";
    this.#unreceived -= 1;
    if (!chunk.everReceived) {
      this.#newChunks += 1;
      this.#receivedBytes += chunk.storedLength;
    }
    chunk.everReceived = true;
  }

  /** Frees from the oldest on as far as everything is durable: the ring is first in, first out. */
  #free(): void {
    let freeTo = -1;
    for (;;) {
      const chunk = this.#fifo[this.#fifoStart];
      if (chunk === undefined || this.#files[chunk.file].chunks.first <= chunk.sequence) break;
      freeTo = chunk.position + chunk.storedLength;
      this.#fifoStart += 1;
    }
    if (freeTo >= 0) this.#ring.freeTo(freeTo);
    if (this.#fifoStart >= 1024 && this.#fifoStart * 2 >= this.#fifo.length) {
      this.#fifo.splice(0, this.#fifoStart);
      this.#freshIndex -= this.#fifoStart;
      this.#fifoStart = 0;
    }
  }

  /** The invariants, after every acknowledgement, in production too: what they guard is other people's data. */
  #check(): void {
    assert(
      this.#freshIndex >= this.#fifoStart,
      `a chunk that was never sent was freed: ${this.#freshIndex} < ${this.#fifoStart}`,
    );
    assert(
      this.#unreceived >= 0 && this.#unreceived <= this.heldChunks,
      `${this.#unreceived} of ${this.heldChunks} chunks unreceived`,
    );
    assert(this.usedBytes <= this.capacityBytes, `window of ${this.capacityBytes} bytes holds ${this.usedBytes}`);
  }
}

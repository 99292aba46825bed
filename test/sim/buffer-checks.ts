/**
 * How much both sides hold in memory, and that nobody holds more than its limit. It also says when the server's sessions had
 * to pause and when their writes were held back, so that a round of the simulator can tell whether that occurred.
 */
import { MiB } from "#base/units.ts";
import { BUFFER_BYTES } from "#store/buffer-pool.ts";
import type { ChunkBuffer } from "#store/chunk-buffer.ts";
import type { AgentHost } from "./agent-host.ts";
import type { SimOptions } from "./options.ts";
import type { RunningServer } from "./server-host.ts";
import type { Trace } from "./trace.ts";
import type { Witness } from "./witness.ts";

/** What each session has in any case. */
const OWN_BYTES = 4 * MiB;
/** Of the chunk buffer a session that is alone fills so much before it is congested. */
const ALONE_PART = 0.8;
const SEGMENT_BYTES = 64 * 1024;
/** What a connection has in hand when it is paused may begin one more buffer, and that counts whole. */
const IN_HAND_BYTES = SEGMENT_BYTES + BUFFER_BYTES;

export interface BufferCheckOptions {
  readonly trace: Trace;
  readonly witness: Witness;
  readonly options: SimOptions;
}

export class BufferChecks {
  readonly #options: BufferCheckOptions;
  #chunkBuffer: ChunkBuffer | undefined;
  #pauses = 0;
  #held = false;

  constructor(options: BufferCheckOptions) {
    this.#options = options;
  }

  server(running: RunningServer): void {
    this.#count(running.chunkBuffer);
    const problem = this.#backlog(running);
    if (problem !== undefined) this.#options.witness.broken(problem);
  }

  agents(agents: readonly AgentHost[]): void {
    const { options, witness } = this.#options;
    for (const agent of agents) {
      for (const run of agent.runs) {
        for (const progress of run.progress.values()) {
          const { windowBytes } = progress();
          if (windowBytes > options.windowBytes) witness.broken(`a window holds ${windowBytes} bytes`);
        }
      }
    }
  }

  /** Looked at with each call of the disk, which is often enough. */
  #count(chunkBuffer: ChunkBuffer): void {
    const { trace } = this.#options;
    const { pauses, usedBytes, writing } = chunkBuffer;
    if (this.#chunkBuffer !== chunkBuffer) this.#pauses = 0;
    this.#chunkBuffer = chunkBuffer;
    if (pauses > this.#pauses) trace.count("state buffer.congested");
    this.#pauses = pauses;
    const held = usedBytes > 0 && !writing;
    if (held && !this.#held) trace.count("state buffer.held");
    this.#held = held;
  }

  #backlog({ stores, chunkBuffer }: RunningServer): string | undefined {
    const { bytesMax, usedBytes } = chunkBuffer;
    const inHandBytes = IN_HAND_BYTES * Math.max(1, this.#options.options.parallels);
    const sessionBytesMax = Math.max(OWN_BYTES, ALONE_PART * bytesMax) + inHandBytes;
    let sumBytes = 0;
    let allBytesMax = bytesMax;
    for (const { backlogBytes } of stores) {
      if (backlogBytes > sessionBytesMax) return `${backlogBytes} bytes wait for the disk in one session`;
      sumBytes += backlogBytes;
      if (backlogBytes > 0) allBytesMax += OWN_BYTES + inHandBytes;
    }
    if (sumBytes !== usedBytes) return `${sumBytes} bytes wait for the disk, the chunk buffer counts ${usedBytes}`;
    return usedBytes > allBytesMax ? `${usedBytes} bytes wait for the disk in all sessions` : undefined;
  }
}

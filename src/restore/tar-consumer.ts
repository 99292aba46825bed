/** The thread that takes entries, seen from the main thread: messages go in order, and answers come in the same order. */
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import type { IndexAgreement } from "./index-agreement.ts";
import type { PieceSink } from "./pipeline.ts";
import type { Piece, PieceFault } from "./piece.ts";
import type { Slot } from "./slots.ts";
import type { PieceInfo } from "./tar-feed.ts";
import type { FromTar, TarProgress, TarReport, ToTar } from "./tar-job.ts";

/** Sends a message and gives the answer. */
export type AskTar = (message: ToTar) => Promise<FromTar>;

/** Matches answers to what was asked, for a port on which they come in order. */
export class OrderedAnswers {
  readonly #waiting: { resolve(answer: FromTar): void; reject(error: unknown): void }[] = [];
  #dead: Failure | undefined;

  ask(send: () => void): Promise<FromTar> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      send();
    });
  }

  answer(answer: FromTar): void {
    must(this.#waiting.shift(), "a question to this answer").resolve(answer);
  }

  die(failure: Failure): void {
    this.#dead ??= failure;
    for (const { reject } of this.#waiting.splice(0)) reject(failure);
  }
}

const NO_PROGRESS: TarProgress = { entries: 0, bytes: 0, path: undefined };

export class TarConsumer implements PieceSink {
  readonly #ask: AskTar;
  /** As of the last piece. */
  progress: TarProgress = NO_PROGRESS;
  /** Is told what the archive has, to compare it with an index. */
  agreement: IndexAgreement | undefined;
  /** Pieces handed over, and those that were bad. */
  pieceCount = 0;

  constructor(ask: AskTar) {
    this.#ask = ask;
  }

  async start(start: Extract<ToTar, { type: "start" }>): Promise<void> {
    await this.#take(start);
  }

  async piece(piece: Piece, slot: Slot, length: number): Promise<void> {
    this.pieceCount += 1;
    await this.#take({ type: "piece", slot: slot.number, length, piece: infoOf(piece) });
  }

  async bad(
    piece: Piece,
    fault: PieceFault,
    rawLength: number | undefined,
    resumeAt: number | undefined,
  ): Promise<void> {
    this.pieceCount += 1;
    const from = piece.rawOffset;
    if (from !== undefined) this.agreement?.lost(from, from + (rawLength ?? 0));
    await this.#take({ type: "missing", piece: infoOf(piece), fault, rawLength, resumeAt });
  }

  async bytes(slot: Slot, length: number): Promise<void> {
    await this.#take({ type: "bytes", slot: slot.number, length });
  }

  async incomplete(): Promise<void> {
    await this.#take({ type: "incomplete" });
  }

  async broken(fault: PieceFault, offset: number): Promise<void> {
    await this.#take({ type: "broken", fault, offset });
  }

  /** Names that another pass has to bring. */
  async endPass(partial: boolean): Promise<readonly Uint8Array[]> {
    const answer = await this.#answer({ type: "end-pass", partial });
    return answer.type === "pass" ? answer.wanted : [];
  }

  async finish(): Promise<TarReport> {
    return await this.#report("finish");
  }

  /** Leaves nothing half done behind; says what was done. */
  async abort(): Promise<TarReport> {
    return await this.#report("abort");
  }

  async #report(type: "finish" | "abort"): Promise<TarReport> {
    const answer = await this.#answer({ type });
    if (answer.type !== "report") throw new Failure("E_INTERNAL", `the tar thread answered ${answer.type} to ${type}`);
    return answer.report;
  }

  async #take(message: ToTar): Promise<void> {
    const answer = await this.#answer(message);
    if (answer.type !== "taken") return;
    this.progress = answer.progress;
    if (answer.seen !== undefined) await this.agreement?.seen(answer.seen);
  }

  async #answer(message: ToTar): Promise<FromTar> {
    const answer = await this.#ask(message);
    if (answer.type === "failed") throw new Failure(answer.code, answer.message, { hint: answer.hint });
    return answer;
  }
}

/** Without what is too much for every message. */
function infoOf({ index, offset, length, rawOffset, enterAt, leaveAt }: Piece): PieceInfo {
  return { index, offset, length, rawOffset, enterAt, leaveAt };
}

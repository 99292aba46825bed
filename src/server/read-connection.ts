/**
 * One read connection: takes requests, answers them one after another in the order in which they came, and lets the agent's own pace be
 * the pace. PROTOCOL.md "Reading". What may be read is read-library.ts's to say.
 */
import type { FileNumber } from "#base/chunk.ts";
import type { Clock } from "#base/clock.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import type { ArchiveRow } from "#restore/archive-stock.ts";
import { encodeBytesHeader, encodeMessage } from "#wire/encode.ts";
import { failureFields, wireText } from "#wire/failure.ts";
import {
  ARCHIVE_DAMAGE_CHARS_MAX,
  ARCHIVE_ROWS_SENT,
  BYTES_PAYLOAD_BYTES_MAX,
  FRAME_HEADER_BYTES,
  READ_IDLE_MS,
  READ_OPEN_MAX,
  READ_REQUESTS_MAX,
} from "#wire/limits.ts";
import type { AnyMessage, Message, MessageType } from "#wire/messages.ts";
import type { LentArchive } from "./lent-archive.ts";
import type { Link, LinkOwner } from "./link.ts";
import { ReadAnswers } from "./read-answers.ts";
import type { ReadLibrary } from "./read-library.ts";

export interface ReadConnectionOptions {
  readonly link: Link;
  /** As the certificate says. */
  readonly agent: string;
  readonly clock: Clock;
  readonly library: ReadLibrary;
  /** Throws Failure E_LIMIT when all connections together have too many archives open. */
  readonly mayOpen: () => void;
  /** The agent opened one. */
  readonly opened: (archive: LentArchive) => void;
  /** What was opened is closed, or is just being. */
  readonly returned: () => void;
  readonly sent: (bytes: number) => void;
  /** Nothing is open any more; once. */
  readonly closed: () => void;
}

type Request = Extract<AnyMessage, { readonly type: "list" | "open" | "read" | "close" }>;

export class ReadConnection implements LinkOwner {
  readonly #options: ReadConnectionOptions;
  readonly #answers = new ReadAnswers();
  readonly #waiting: Request[] = [];
  /** By the request that opened them. */
  readonly #open = new Map<number, LentArchive>();
  #serving = false;
  #over = false;
  /** Something was asked for, or went out. */
  #movedAtMs: number;

  constructor(options: ReadConnectionOptions) {
    this.#options = options;
    this.#movedAtMs = options.clock.now();
    options.link.carry(this.#answers);
  }

  /** Throws Failure E_LIMIT when more requests wait than may. */
  message(message: AnyMessage): void {
    if (!isRequest(message)) {
      if (message.type === "goodbye") this.#options.link.end();
      if (message.type === "goodbye") this.#finish();
      return;
    }
    if (this.#waiting.length >= READ_REQUESTS_MAX) {
      throw new Failure("E_LIMIT", `more than ${READ_REQUESTS_MAX} requests wait for their answer`);
    }
    this.#movedAtMs = this.#options.clock.now();
    this.#waiting.push(message);
    if (!this.#serving) void this.#serve();
  }

  beat(): void {
    const { link, clock } = this.#options;
    if (clock.now() - this.#movedAtMs < READ_IDLE_MS) link.ping();
    else this.refuse(new Failure("E_TIMEOUT", `nothing was read for ${READ_IDLE_MS / 60_000} minutes`));
  }

  drained(): void {
    // The answers are asked for by themselves.
  }

  gone(): void {
    this.#finish();
  }

  /** Says why, and ends. */
  refuse(failure: Failure): void {
    this.#options.link.dismiss(failure);
    this.#finish();
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    this.#serving = true;
    for (let request = this.#waiting[0]; request !== undefined && !this.#over; request = this.#waiting[0]) {
      try {
        await this.#answer(request);
      } catch (error) {
        await this.#failed(request, toFailure(error));
      }
      this.#waiting.shift();
      this.#options.link.answered();
    }
    this.#serving = false;
    this.#answers.rest();
    if (this.#over) await this.#release();
  }

  #answer(request: Request): Promise<void> {
    switch (request.type) {
      case "list":
        return this.#list(request.body);
      case "open":
        return this.#lend(request.body);
      case "read":
        return this.#read(request.body);
      case "close":
        return this.#close(request.body);
    }
  }

  async #list({ request, ...filter }: Message<"list">): Promise<void> {
    const { library, agent } = this.#options;
    for await (const told of library.list(agent, filter)) {
      if ("failure" in told) {
        await this.#send("archives", { request, rows: [], failure: failureFields(told.failure), last: false });
        continue;
      }
      for (let at = 0; at < told.rows.length; at += ARCHIVE_ROWS_SENT) {
        const rows = told.rows.slice(at, at + ARCHIVE_ROWS_SENT).map(wireRow);
        await this.#send("archives", { request, rows, last: false });
      }
    }
    await this.#send("archives", { request, rows: [], last: true });
  }

  async #lend({ request, ...wish }: Message<"open">): Promise<void> {
    const { library, agent, mayOpen, opened } = this.#options;
    if (this.#open.has(request)) throw new Failure("E_PROTOCOL", `request ${request} has opened an archive already`);
    if (this.#open.size >= READ_OPEN_MAX) {
      throw new Failure("E_LIMIT", `${this.#open.size} archives are open on this connection already`);
    }
    mayOpen();
    const archive = await library.open(agent, wish);
    this.#open.set(request, archive);
    opened(archive);
    await this.#send("opened", { request, archiveBytes: archive.bytes(0), indexBytes: archive.bytes(1) });
  }

  async #read({ request, open, file, offset, length }: Message<"read">): Promise<void> {
    const archive = this.#opened(open);
    for (let at = offset; at < offset + length; at += BYTES_PAYLOAD_BYTES_MAX) {
      await this.#answers.room();
      if (this.#over) return;
      const frame = this.#answers.buffer(Math.min(BYTES_PAYLOAD_BYTES_MAX, offset + length - at));
      await archive.read(file, frame.subarray(FRAME_HEADER_BYTES), at);
      this.#bytes(frame, { request, file, offset: at });
    }
  }

  #bytes(frame: Uint8Array, place: { request: number; file: FileNumber; offset: number }): void {
    encodeBytesHeader(place, frame);
    this.#push(frame);
    this.#options.sent(frame.length - FRAME_HEADER_BYTES);
  }

  async #close({ open }: Message<"close">): Promise<void> {
    const archive = this.#opened(open);
    this.#open.delete(open);
    this.#options.returned();
    // A disk that hangs is not waited for.
    void archive.close();
  }

  #opened(open: number): LentArchive {
    const archive = this.#open.get(open);
    if (archive === undefined) throw new Failure("E_PROTOCOL", `request ${open} has no archive open`);
    return archive;
  }

  /** Answers that it could not be; what no agent of ours would ask ends the connection. */
  async #failed({ body }: Request, failure: Failure): Promise<void> {
    if (failure.code === "E_PROTOCOL" || failure.code === "E_INTERNAL" || !("request" in body)) {
      this.#options.link.violated(failure);
      return;
    }
    const errno = errnoName(failure.cause);
    await this.#send("failed", { request: body.request, ...failureFields(failure), errno });
  }

  async #send<T extends MessageType>(type: T, body: Message<T>): Promise<void> {
    await this.#answers.room();
    this.#push(encodeMessage(type, body));
  }

  #push(frame: Uint8Array): void {
    this.#movedAtMs = this.#options.clock.now();
    this.#answers.push(frame);
    this.#options.link.wake();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#answers.close();
    if (!this.#serving) void this.#release();
  }

  /** Closes what is open; never rejects. */
  async #release(): Promise<void> {
    const archives = [...this.#open.values()];
    this.#open.clear();
    for (const _ of archives) this.#options.returned();
    await Promise.all(archives.map((archive) => archive.close()));
    this.#options.closed();
  }
}

function isRequest(message: AnyMessage): message is Request {
  return ["list", "open", "read", "close"].includes(message.type);
}

function wireRow(row: ArchiveRow): Message<"archives">["rows"][number] {
  const { storage, backup, name, archiveBytes: bytes, hasIndex, entries, rawBytes, durationMs, problems } = row;
  return {
    ...{ storage, backup, name, bytes, hasIndex, entries, rawBytes, durationMs, problems },
    ...(row.unread === undefined ? {} : { unread: [...row.unread] }),
    sha256: row.sha256 === undefined ? undefined : Uint8Array.from(Buffer.from(row.sha256, "hex")),
    damage: row.damage === undefined ? undefined : wireText(row.damage, ARCHIVE_DAMAGE_CHARS_MAX),
  };
}

/**
 * Requests on one read connection: several under way, answered in the order in which they were made. PROTOCOL.md "Reading". The server is
 * trusted with nothing: an answer that is not the next one due, or not what was asked for, ends the connection.
 */
import type { FileNumber } from "#base/chunk.ts";
import { Failure, isLostBytes } from "#base/errors.ts";
import type { BytesHandlers } from "#wire/decoder.ts";
import { failureFromFields } from "#wire/failure.ts";
import type { FrameHeader } from "#wire/frame.ts";
import { READ_OPEN_MAX, READ_REQUESTS_MAX } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { FrameLink } from "./frame-link.ts";

export type ListedRow = Message<"archives">["rows"][number];

export interface Listed {
  readonly rows: readonly ListedRow[];
  readonly failures: readonly Failure[];
}

/** The server's disk could not read what was asked for. The errno is in `code`, as in an error of this machine's disk. */
export class RemoteDiskError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "RemoteDiskError";
    this.code = code;
  }
}

/** An archive of more rows than this is none of one agent's: 10,000 archives of 25 backup entries. */
const ROWS_MAX = 250_000;
/** Requests under way: a Close may come on top for every archive that is open. */
const UNDER_WAY_MAX = READ_REQUESTS_MAX - READ_OPEN_MAX - 1;

interface Asked {
  readonly request: number;
  readonly send: () => void;
  readonly reject: (error: unknown) => void;
}

interface AskedList extends Asked {
  readonly kind: "archives";
  readonly rows: ListedRow[];
  readonly failures: Failure[];
  readonly resolve: (listed: Listed) => void;
}

interface AskedOpen extends Asked {
  readonly kind: "opened";
  readonly resolve: (opened: Message<"opened">) => void;
}

interface AskedRead extends Asked {
  readonly kind: "bytes";
  readonly file: FileNumber;
  readonly offset: number;
  readonly into: Uint8Array;
  filled: number;
  readonly resolve: () => void;
}

type AnyAsked = AskedList | AskedOpen | AskedRead;

export class ReadLink {
  readonly #link: FrameLink;
  readonly #onClosed: (failure: Failure) => void;
  /** Sent, in order. */
  readonly #underWay: AnyAsked[] = [];
  readonly #waiting: AnyAsked[] = [];
  #lastRequest = 0;
  #over: Failure | undefined;

  /** In the turn of Welcome. `onClosed` hears once that it is of no more use, after all that was asked for was rejected. */
  constructor(link: FrameLink, onClosed: (failure: Failure) => void) {
    this.#link = link;
    this.#onClosed = onClosed;
    link.handle({
      message: (message) => this.#message(message),
      bytes: this.#bytes(),
      closed: (failure) => this.#closed(failure ?? new Failure("E_DISCONNECTED", "the server closed the connection")),
    });
    link.enter("agent/read");
  }

  list(filter: Omit<Message<"list">, "request">): Promise<Listed> {
    const request = this.#next();
    return new Promise((resolve, reject) => {
      const send = (): void => this.#link.send("list", { request, ...filter });
      this.#ask({ kind: "archives", request, send, rows: [], failures: [], resolve, reject });
    });
  }

  /** The `request` of the answer is what `read` and `close` call the archive. */
  open(wish: Omit<Message<"open">, "request">): Promise<Message<"opened">> {
    const request = this.#next();
    return new Promise((resolve, reject) => {
      this.#ask({
        ...{ kind: "opened", request, resolve, reject },
        send: () => this.#link.send("open", { request, ...wish }),
      });
    });
  }

  /** Fills `into`, at most READ_BYTES_MAX. Rejects with Failure or RemoteDiskError; nothing is written to it afterwards. */
  read(open: number, file: FileNumber, into: Uint8Array, offset: number): Promise<void> {
    const request = this.#next();
    const length = into.length;
    return new Promise((resolve, reject) => {
      const send = (): void => this.#link.send("read", { request, open, file, offset, length });
      this.#ask({ kind: "bytes", request, send, file, offset, into, filled: 0, resolve, reject });
    });
  }

  close(open: number): void {
    if (this.#over === undefined) this.#link.send("close", { open });
  }

  /** Says goodbye; what is under way is rejected. */
  end(): void {
    if (this.#over !== undefined) return;
    this.#link.send("goodbye", {});
    this.#link.end();
  }

  destroy(failure: Failure): void {
    this.#link.destroy(failure);
  }

  #next(): number {
    this.#lastRequest = (this.#lastRequest + 1) >>> 0;
    return this.#lastRequest;
  }

  #ask(asked: AnyAsked): void {
    if (this.#over !== undefined) {
      asked.reject(this.#over);
      return;
    }
    this.#waiting.push(asked);
    this.#run();
  }

  #run(): void {
    while (this.#underWay.length < UNDER_WAY_MAX && this.#over === undefined) {
      const asked = this.#waiting.shift();
      if (asked === undefined) return;
      this.#underWay.push(asked);
      asked.send();
    }
  }

  /** The next one due, which an answer must be for. Throws Failure E_PROTOCOL. */
  #due(request: number): AnyAsked {
    const asked = this.#underWay[0];
    if (asked?.request === request) return asked;
    const expected = asked === undefined ? "none" : `to ${asked.request}`;
    throw new Failure("E_PROTOCOL", `the server answered request ${request}, and ${expected} was due`);
  }

  #done(): void {
    this.#underWay.shift();
    this.#run();
  }

  #message(message: AnyMessage): void {
    switch (message.type) {
      case "archives":
        this.#archives(message.body);
        return;
      case "opened": {
        const asked = this.#due(message.body.request);
        if (asked.kind !== "opened") throw wrongAnswer("opened", asked);
        asked.resolve(message.body);
        this.#done();
        return;
      }
      case "failed":
        this.#due(message.body.request).reject(failureOf(message.body));
        this.#done();
        return;
      case "refused":
        this.#link.destroy(failureFromFields(message.body));
        return;
      default:
    }
  }

  #archives({ request, rows, failure, last }: Message<"archives">): void {
    const asked = this.#due(request);
    if (asked.kind !== "archives") throw wrongAnswer("archives", asked);
    asked.rows.push(...rows);
    if (failure !== undefined) asked.failures.push(failureFromFields(failure));
    if (asked.rows.length + asked.failures.length > ROWS_MAX) {
      throw new Failure("E_PROTOCOL", `the server lists more than ${ROWS_MAX} archives`);
    }
    if (!last) return;
    asked.resolve({ rows: asked.rows, failures: asked.failures });
    this.#done();
  }

  #bytes(): BytesHandlers {
    return {
      start: (header) => this.#bytesStart(header),
      bytes: (view) => {
        const asked = this.#reading();
        asked.into.set(view, asked.filled);
        asked.filled += view.length;
      },
      end: (crcOk) => {
        const asked = this.#reading();
        // TLS lets no damage through: the memory of one of the machines did it.
        if (!crcOk) throw new Failure("E_CHUNK_DAMAGED", `bytes arrived damaged at ${asked.offset}`);
        if (asked.filled < asked.into.length) return;
        asked.resolve();
        this.#done();
      },
    };
  }

  #bytesStart({ sequence, file, offset, length }: FrameHeader): void {
    const asked = this.#due(sequence);
    if (asked.kind !== "bytes") throw wrongAnswer("bytes", asked);
    const due = asked.offset + asked.filled;
    if (file === asked.file && offset === due && length <= asked.into.length - asked.filled) return;
    throw new Failure("E_PROTOCOL", `the server sent ${length} bytes of file ${file} from ${offset}, due was ${due}`);
  }

  #reading(): AskedRead {
    const asked = this.#underWay[0];
    if (asked?.kind !== "bytes") throw new Failure("E_PROTOCOL", "the server sent bytes that nobody asked for");
    return asked;
  }

  #closed(failure: Failure): void {
    this.#over = failure;
    for (const { reject } of [...this.#underWay.splice(0), ...this.#waiting.splice(0)]) reject(failure);
    this.#onClosed(failure);
  }
}

function wrongAnswer(type: string, asked: AnyAsked): Failure {
  return new Failure("E_PROTOCOL", `the server answered ${type} to request ${asked.request}, due was ${asked.kind}`);
}

function failureOf({ errno, ...fields }: Message<"failed">): Failure | RemoteDiskError {
  if (errno === undefined) return failureFromFields(fields);
  const error = new RemoteDiskError(errno, fields.message);
  return isLostBytes(error) ? error : failureFromFields(fields);
}

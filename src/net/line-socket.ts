/**
 * One line there, one line back, over a Unix socket: how a command talks to the program that runs. A connection is one
 * question; sizes, clients and times are limited, so that whoever may connect can harm nobody but himself. What is in a
 * line, and who may reach the path, is the caller's.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { errnoName, Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";

/** A question names at most some hundred storages. */
const QUESTION_BYTES_MAX = 512 * KiB;
/** An answer may have thousands of rows. */
const ANSWER_BYTES_MAX = 64 * MiB;
/** Commands that talk at the same time: a person, a few monitoring jobs. */
const CLIENTS_MAX = 16;
/** For a question to arrive whole. */
const QUESTION_LIMIT_MS = 10_000;
/** For an answer to be taken, or a part of it. */
const ANSWER_LIMIT_MS = 30_000;
const NEWLINE = 10;

export interface LineServerOptions {
  readonly path: string;
  readonly clock: Clock;
  /** The answer to a question, both without line end. Never rejects. */
  readonly answer: (question: string) => Promise<string>;
}

export interface LineServer {
  /** Takes no more, closes what is open and removes the path. */
  stop(): void;
}

interface Client {
  readonly received: Uint8Array[];
  receivedBytes: number;
  asked: boolean;
  /** Not yet taken by the socket. */
  unsent: Uint8Array | undefined;
  timer: Timer;
}

type ClientSocket = Bun.Socket<Client>;

/** Throws what the system says when the path cannot be had. Permissions are those of the umask. */
export function listenLines(options: LineServerOptions): LineServer {
  const sockets = new Set<ClientSocket>();
  const limit = (socket: ClientSocket, limitMs: number): Timer =>
    options.clock.after(limitMs, () => socket.terminate());
  const send = (socket: ClientSocket): void => {
    const { data } = socket;
    if (data.unsent === undefined || !sockets.has(socket)) return;
    data.timer.cancel();
    // Also for the other side to close.
    data.timer = limit(socket, ANSWER_LIMIT_MS);
    const taken = socket.write(data.unsent);
    if (taken > 0) data.unsent = data.unsent.subarray(taken);
    if (data.unsent.length > 0) return;
    data.unsent = undefined;
    socket.end();
  };
  const ask = async (socket: ClientSocket, question: string): Promise<void> => {
    const answer = await options.answer(question);
    if (!sockets.has(socket)) return;
    socket.data.unsent = Buffer.from(`${answer}\n`);
    send(socket);
  };
  const listener = Bun.listen<Client>({
    unix: options.path,
    socket: {
      binaryType: "uint8array",
      open: (socket) => {
        const timer = limit(socket, QUESTION_LIMIT_MS);
        socket.data = { received: [], receivedBytes: 0, asked: false, unsent: undefined, timer };
        sockets.add(socket);
        if (sockets.size > CLIENTS_MAX) socket.terminate();
      },
      data: (socket, bytes) => {
        const { data } = socket;
        if (data.asked) return;
        const question = gather(data, bytes, QUESTION_BYTES_MAX);
        if (question === "too long") socket.terminate();
        if (question === "too long" || question === undefined) return;
        data.asked = true;
        data.timer.cancel();
        void ask(socket, question.line);
      },
      drain: send,
      close: (socket) => {
        socket.data.timer.cancel();
        sockets.delete(socket);
      },
    },
  });
  return {
    stop: () => {
      for (const socket of sockets) socket.data.timer.cancel();
      listener.stop(true);
    },
  };
}

/** The first line, once it is there. */
function gather(
  into: { readonly received: Uint8Array[]; receivedBytes: number },
  bytes: Uint8Array,
  bytesMax: number,
): { readonly line: string } | "too long" | undefined {
  const end = bytes.indexOf(NEWLINE);
  const part = end < 0 ? bytes : bytes.subarray(0, end);
  into.receivedBytes += part.length;
  if (into.receivedBytes > bytesMax) return "too long";
  into.received.push(Uint8Array.from(part));
  return end < 0 ? undefined : { line: Buffer.concat(into.received).toString("utf8") };
}

/**
 * Asks `program`, which listens at the path; however long it takes to answer. Rejects with Failure E_NOT_RUNNING when
 * nobody listens, E_STATE_DIR when this user may not ask, E_DISCONNECTED when the answer does not come whole.
 */
export function askLine(program: string, path: string, question: string): Promise<string> {
  const answer = Promise.withResolvers<string>();
  const state = { received: [] as Uint8Array[], receivedBytes: 0 };
  const broken = (reason: string): void => answer.reject(noAnswer(program, reason));
  let unsent: Uint8Array = Buffer.from(`${question}\n`);
  const send = (socket: Bun.Socket): void => {
    const taken = socket.write(unsent);
    if (taken > 0) unsent = unsent.subarray(taken);
  };
  const connecting = Bun.connect({
    unix: path,
    socket: {
      binaryType: "uint8array",
      open: send,
      drain: send,
      data: (socket, bytes) => {
        const line = gather(state, bytes, ANSWER_BYTES_MAX);
        if (line === undefined) return;
        if (line === "too long") broken(`its answer is longer than ${ANSWER_BYTES_MAX} bytes`);
        else answer.resolve(line.line);
        socket.end();
      },
      error: (_socket, error) => broken(error.message),
      close: () => broken("it closed the connection"),
    },
  });
  connecting.catch((error: unknown) => answer.reject(askFailure(program, error, path)));
  return answer.promise;
}

function askFailure(program: string, error: unknown, path: string): Failure {
  const errno = errnoName(error) ?? String(error);
  if (errno === "ENOENT" || errno === "ECONNREFUSED") {
    return new Failure("E_NOT_RUNNING", `no ${program} answers at ${path}`, { cause: error });
  }
  if (errno === "ECONNRESET" || errno === "EPIPE") return noAnswer(program, "it closed the connection");
  return new Failure("E_STATE_DIR", `${path} cannot be used: ${errno}`, {
    hint: `Run the command as root or as the user that ${program} runs as.`,
    cause: error,
  });
}

function noAnswer(program: string, reason: string): Failure {
  return new Failure("E_DISCONNECTED", `${program} did not answer: ${reason}`, {
    hint: `Look at the log of ${program}; it answers a few commands at a time.`,
  });
}

/** One line there, one line back over a real Unix socket: limits, and what goes wrong at either end. */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { toFailure } from "#base/errors.ts";
import { askLine, type LineServer, listenLines } from "#net/line-socket.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const directory = mkdtempSync(path.join(tmpdir(), "nbackup-line-"));
const socketPath = path.join(directory, "a.sock");
const clock = new SimClock();
let server: LineServer | undefined;

afterEach(() => {
  server?.stop();
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
  expect(clock.pendingCount).toBe(0);
});

function listen(answer: (question: string) => Promise<string>): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  server = listenLines({ path: socketPath, clock, answer });
}

const codeOf = async (asked: Promise<string>): Promise<string> =>
  await asked.then(
    () => "none",
    (error: unknown) => toFailure(error).code,
  );

/** A client that sends what it is told; resolves with what it got when it is closed. */
function rawClient(bytes: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let got = "";
  let unsent = Buffer.from(bytes);
  const send = (socket: Bun.Socket): void => {
    unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
  };
  void Bun.connect({
    unix: socketPath,
    socket: {
      open: send,
      drain: send,
      data: (_socket, data) => {
        got += data.toString();
      },
      close: () => resolve(got),
    },
  });
  return promise;
}

describe("a question", () => {
  test("gets its answer, several at a time, short and long", async () => {
    listen((question) => Promise.resolve(`${question.length}:${question.slice(0, 3)}`));
    const questions = ["abc", "é".repeat(10), "x".repeat(400_000)];
    const answers = await Promise.all(questions.map((question) => askLine("the program", socketPath, question)));
    expect(answers).toEqual(["3:abc", "10:ééé", "400000:xxx"]);
  });

  test("may have an answer of many megabytes", async () => {
    const long = "y".repeat(20_000_000);
    listen(() => Promise.resolve(long));
    expect((await askLine("the program", socketPath, "q")).length).toBe(long.length);
  });

  test("is answered once: what follows on the connection is ignored", async () => {
    let asked = 0;
    listen((question) => {
      asked += 1;
      return Promise.resolve(question);
    });
    expect(await rawClient("one\ntwo\nthree\n")).toBe("one\n");
    expect(asked).toBe(1);
  });

  test("that is too long, or does not come whole, closes the connection", async () => {
    listen((question) => Promise.resolve(question));
    expect(await rawClient("z".repeat(600_000))).toBe("");
    const slow = rawClient("no end");
    while (clock.pendingCount === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await clock.advance(11_000);
    expect(await slow).toBe("");
    expect(await askLine("the program", socketPath, "still there")).toBe("still there");
  });

  test("of a seventeenth client at the same time is turned away, and the others get their answers", async () => {
    const { promise: go, resolve } = Promise.withResolvers<void>();
    let waiting = 0;
    const all = Promise.withResolvers<void>();
    listen(async (question) => {
      waiting += 1;
      if (waiting === 16) all.resolve();
      await go;
      return question;
    });
    const first = Array.from({ length: 16 }, (_, i) => askLine("the program", socketPath, String(i)));
    await all.promise;
    expect(await codeOf(askLine("the program", socketPath, "too many"))).toBe("E_DISCONNECTED");
    resolve();
    expect(await Promise.all(first)).toEqual(Array.from({ length: 16 }, (_, i) => String(i)));
  });

  test("whose asker went away costs nothing", async () => {
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    listen(async (question) => {
      asked.resolve();
      await go;
      return question;
    });
    const socket = await Bun.connect({ unix: socketPath, socket: { data: () => undefined } });
    socket.write("gone\n");
    await asked.promise;
    socket.terminate();
    resolve();
    expect(await askLine("the program", socketPath, "next")).toBe("next");
  });
});

describe("a server that is not there", () => {
  test("is E_NOT_RUNNING, with or without the file of one that died", async () => {
    listen((question) => Promise.resolve(question));
    server?.stop();
    server = undefined;
    expect(existsSync(socketPath)).toBe(false);
    expect(await codeOf(askLine("the program", socketPath, "q"))).toBe("E_NOT_RUNNING");
    writeFileSync(socketPath, "");
    expect(await codeOf(askLine("the program", socketPath, "q"))).toBe("E_NOT_RUNNING");
  });

  test("any more while it should answer is E_DISCONNECTED", async () => {
    const asked = Promise.withResolvers<void>();
    listen(() => {
      asked.resolve();
      return new Promise(() => undefined);
    });
    const code = codeOf(askLine("the program", socketPath, "q"));
    await asked.promise;
    server?.stop();
    server = undefined;
    expect(await code).toBe("E_DISCONNECTED");
  });
});

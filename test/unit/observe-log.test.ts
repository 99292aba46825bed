import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { Failure } from "#base/errors.ts";
import type { LogFields, LogLevel } from "#base/log.ts";
import { createLogger, type RootLogger } from "#observe/log.ts";
import { openLogFile } from "#observe/log-file.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";

const WALL = Date.UTC(2026, 1, 12, 2, 0, 0, 123);
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-log-"));
afterAll(() => fs.rmSync(temporary, { recursive: true }));

function logging(format: "json" | "text", level: LogLevel = "debug"): { log: RootLogger; lines: string[] } {
  const lines: string[] = [];
  const log = createLogger({ level, format, clock: { wall: () => WALL }, sink: { write: (line) => lines.push(line) } });
  return { log, lines };
}

function logged(fields: LogFields): Record<string, unknown> {
  const { log, lines } = logging("json");
  log.info("m", fields);
  const object: Record<string, unknown> = JSON.parse(lines[0] ?? "");
  return object;
}

describe("a JSON log", () => {
  test("has one object per line: level, time in UTC, fields, message", () => {
    const { log, lines } = logging("json");
    log.warn("session ended", { session: "s1", bytes: 12 });
    expect(lines).toEqual([
      '{"level":"warn","time":"2026-02-12T02:00:00.123Z","session":"s1","bytes":12,"msg":"session ended"}\n',
    ]);
  });
  test("has each field once, the nearest one", () => {
    const { log, lines } = logging("json");
    log.child({ agent: "a", slot: 1 }).child({ slot: 2 }).error("x", { slot: 3, level: "mine", msg: "mine", time: 0 });
    expect(lines[0]).toBe(
      '{"level":"error","time":"2026-02-12T02:00:00.123Z","agent":"a","slot":3,"level_":"mine","msg_":"mine","time_":0,"msg":"x"}\n',
    );
  });
  test("tells paths of any bytes as text", () => {
    expect(logged({ path: Buffer.from([0x2f, 0x61, 0xff, 0x0a]) })["path"]).toBe("/a\\xff\\n");
    expect(logged({ blob: new Uint8Array(5000) })["blob"]).toBe("(5000 bytes)");
  });
  test("tells a failure by code, message and cause, and any other error with its stack", () => {
    const cause = Object.assign(new Error("no space"), { code: "ENOSPC" });
    const error = logged({ error: new Failure("E_DISK_FULL", "the disk is full", { cause }) })["error"];
    expect(error).toMatchObject({
      code: "E_DISK_FULL",
      message: "the disk is full",
      cause: { name: "Error", code: "ENOSPC" },
    });
    expect(error).not.toHaveProperty("stack");
    expect(logged({ error: new TypeError("bug") })["error"]).toMatchObject({
      name: "TypeError",
      stack: expect.arrayContaining([expect.stringContaining("observe-log.test")]),
    });
  });
  test("never holds a secret", () => {
    const key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n";
    const { log, lines } = logging("json");
    log.info("x", {
      password: "hunter2",
      nested: { enrollToken: "hunter2", list: [{ secret: "hunter2" }] },
      private_key: "hunter2",
      text: key,
      error: new Error(key),
    });
    log.child({ apiSecret: "hunter2" }).info("y", { map: new Map([["access_key", "hunter2"]]) });
    expect(lines.join("")).not.toMatch(/hunter2|MHcCAQEE/);
    expect(lines.join("")).toContain('"password":"[hidden]"');
  });
  test("takes values that JSON does not have", () => {
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    const object = logged({
      big: 2n ** 70n,
      none: undefined,
      nan: Number.NaN,
      fn: () => 1,
      set: new Set([1]),
      circle,
      nothing: null,
    });
    expect(object).toMatchObject({
      big: "1180591620717411303424",
      nan: "NaN",
      fn: "(function)",
      set: [1],
      nothing: null,
    });
    expect(object).not.toHaveProperty("none");
    expect(JSON.stringify(object["circle"])).toContain("(deeper)");
  });
  test("bounds what it is handed", () => {
    const object = logged({ text: "x".repeat(1_000_000), list: Array.from({ length: 1_000_000 }, () => 1) });
    expect(JSON.stringify(object).length).toBeLessThan(10_000);
    expect(object["text"]).toEndWith("… (1000000 characters)");
  });
  test("is one line of JSON for any fields and message", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.dictionary(
          fc.string(),
          fc.anything({ withBigInt: true, withMap: true, withSet: true, withTypedArray: true, withDate: true }),
        ),
        (message, fields) => {
          const { log, lines } = logging("json");
          log.info(message, fields);
          expect(lines.length).toBe(1);
          expect(lines[0]).toMatch(/^[^\n]+\n$/);
          expect(JSON.parse(lines[0] ?? "")).toHaveProperty("msg");
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a text log", () => {
  test("has one readable line per event", () => {
    const { log, lines } = logging("text");
    log.info("session admitted", { session: "s1", bytes: 12 });
    log.error("session failed", { error: new Failure("E_FULL", "12 GB are missing") });
    expect(lines).toEqual([
      '[2026-02-12T02:00:00.123Z] INFO: session admitted {"session":"s1","bytes":12}\n',
      '[2026-02-12T02:00:00.123Z] ERROR: session failed {"error":{"code":"E_FULL","message":"12 GB are missing"}}\n',
    ]);
  });
  test("cannot be made to show a second event, or to drive a terminal", () => {
    const { log, lines } = logging("text");
    log.warn("bad name\n[2026-01-01] INFO: all is well\u001b[2J", { name: "a\r\n\u009bb\u202e" });
    expect(lines.length).toBe(1);
    expect(lines[0]).toMatch(/^[^\p{Cc}\p{Cf}]+\n$/u);
  });
});

describe("the level", () => {
  test("leaves out what is less serious", () => {
    const { log, lines } = logging("json", "warn");
    for (const level of ["debug", "info", "warn", "error"] as const) log[level](level);
    expect(lines.map((line) => /"msg":"(\w+)"/.exec(line)?.[1])).toEqual(["warn", "error"]);
  });
  test("can change while the program runs, for loggers made before as well", () => {
    const { log, lines } = logging("json", "error");
    const child = log.child({ a: 1 });
    log.setLevel("debug");
    child.debug("seen");
    log.setLevel("error");
    child.warn("not seen");
    expect(lines.length).toBe(1);
  });
});

describe("a log file", () => {
  const unexpected = (failure: Failure): never => {
    throw failure;
  };
  test("is appended to, and made anew after somebody moved it away", () => {
    const file = path.join(temporary, "agent.log");
    fs.writeFileSync(file, "before\n");
    const log = openLogFile(file, unexpected);
    log.write("one\n");
    fs.renameSync(file, `${file}.1`);
    log.write("two\n");
    log.reopen();
    log.write("three\n");
    log.close();
    expect([fs.readFileSync(`${file}.1`, "utf8"), fs.readFileSync(file, "utf8")]).toEqual([
      "before\none\ntwo\n",
      "three\n",
    ]);
    expect(fs.statSync(file).mode & 0o007).toBe(0);
    expect(log.lostLines).toBe(0);
  });
  test("that cannot be opened is a configuration error with a hint", () => {
    const file = path.join(temporary, "missing", "agent.log");
    expect(() => openLogFile(file, unexpected)).toThrow(
      expect.objectContaining({ code: "E_CONFIG", message: `the log file ${file} cannot be opened: ENOENT` }),
    );
  });
  test("that is a named pipe is refused without a reader, and loses what a reader does not take", () => {
    const fifo = path.join(temporary, "fifo");
    Bun.spawnSync(["mkfifo", fifo]);
    expect(() => openLogFile(fifo, () => undefined)).toThrow(/fifo cannot be opened: ENXIO/);
    const reader = fs.openSync(fifo, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const file = openLogFile(fifo, () => undefined);
    file.write("first\n");
    // More than a pipe holds.
    for (let i = 0; i < 40; i += 1) file.write(`${"x".repeat(4095)}\n`);
    expect(file.lostLines).toBeGreaterThan(0);
    const taken = Buffer.alloc(6);
    fs.readSync(reader, taken);
    expect(taken.toString()).toBe("first\n");
    file.close();
    fs.closeSync(reader);
  });
  test("stays in use when it cannot be opened anew", () => {
    const directory = fs.mkdtempSync(path.join(temporary, "gone-"));
    const file = path.join(directory, "agent.log");
    const log = openLogFile(file, unexpected);
    fs.renameSync(directory, `${directory}.moved`);
    expect(() => log.reopen()).toThrow();
    log.write("still\n");
    log.close();
    expect(fs.readFileSync(path.join(`${directory}.moved`, "agent.log"), "utf8")).toBe("still\n");
  });
  test("on a full disk loses lines, not the program, and says so once", () => {
    const failures: Failure[] = [];
    const log = openLogFile("/dev/full", (failure) => failures.push(failure));
    for (let i = 0; i < 3; i += 1) log.write("line\n");
    log.close();
    expect([log.lostLines, failures.map(({ message }) => message)]).toEqual([
      3,
      ["the log file /dev/full cannot be written: ENOSPC"],
    ]);
  });
});

describe("the logger of tests", () => {
  test("keeps lines with the fields of their loggers", () => {
    const log = memoryLogger();
    log.child({ a: 1 }).warn("x", { b: 2 });
    log.info("y");
    expect(log.lines).toEqual([
      { level: "warn", message: "x", fields: { a: 1, b: 2 } },
      { level: "info", message: "y", fields: {} },
    ]);
  });
});

/** `logging.session_log_dir`: which lines are in which file, when files are kept, and what a disk that refuses costs. */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { linuxSessionLogDisk } from "#bin/session-log-disk.ts";
import { withSessionLogs } from "#observe/session-log-events.ts";
import { logEvents } from "#observe/events.ts";
import { type SessionLogDisk, SessionLogs } from "#observe/session-log.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const ONE = "11111111-1111-4111-8111-111111111111";
const TWO = "22222222-2222-4222-8222-222222222222";

class MemoryLogDisk implements SessionLogDisk {
  readonly files = new Map<string, string>();
  refusing: string | undefined;

  async makeDirectory(): Promise<void> {
    await this.#answer();
  }

  async list(directory: string): Promise<readonly string[]> {
    await this.#answer();
    return [...this.files.keys()].map((path) => path.slice(directory.length + 1));
  }

  async append(path: string, text: string): Promise<void> {
    await this.#answer();
    this.files.set(path, (this.files.get(path) ?? "") + text);
  }

  async remove(path: string): Promise<void> {
    await this.#answer();
    this.files.delete(path);
  }

  #answer(): Promise<void> {
    if (this.refusing === undefined) return Promise.resolve();
    return Promise.reject(Object.assign(new Error("refused"), { code: this.refusing }));
  }
}

function logsOn(disk: SessionLogDisk, directory: string | undefined = "/logs") {
  const log = memoryLogger();
  const clock = new SimClock();
  return { clock, log, logs: new SessionLogs({ disk, clock, format: "json", log }, directory) };
}

function begin(logs: SessionLogs, session: string): void {
  logs.begin({ session, agent: "web-1", backup: "home" });
}

test("a session that failed leaves a file with its own lines, debug too, and no others; a good one leaves none", async () => {
  const disk = new MemoryLogDisk();
  const { logs } = logsOn(disk);
  begin(logs, ONE);
  begin(logs, TWO);
  logs.log.debug("slow disk", { session: ONE, ms: 7 });
  logs.log.child({ session: ONE }).warn("stream lost", { slot: 3 });
  logs.log.info("of the other", { session: TWO });
  logs.log.info("of nobody");
  logs.end(TWO, "good");
  logs.end(ONE, "failed");
  logs.log.info("after its end", { session: ONE });
  await logs.close();
  expect([...disk.files.keys()]).toEqual([`/logs/web-1_home_2026-01-01T00-00-00-000Z_${ONE}.log`]);
  const lines = [...disk.files.values()].join("").trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { level: "debug", time: "2026-01-01T00:00:00.000Z", session: ONE, ms: 7, msg: "slow disk" },
    { level: "warn", time: "2026-01-01T00:00:00.000Z", session: ONE, slot: 3, msg: "stream lost" },
  ]);
});

test("the server's events begin and end them, and a session that goes on after a start goes on in its file", async () => {
  const disk = new MemoryLogDisk();
  const fields = { session: ONE, agent: "web-1", backup: "home" };
  const lives = [
    ["session.admitted", "session.suspended"],
    ["session.recovered", "session.ended"],
  ] as const;
  for (const kinds of lives) {
    const { logs } = logsOn(disk);
    const events = withSessionLogs(logEvents(logs.log), logs);
    for (const kind of kinds) events.emit({ kind, level: "info", message: kind, fields });
    await logs.close();
  }
  expect(disk.files.size).toBe(1);
  const told = [...disk.files.values()].join("").match(/session\.[a-z]+(?=",")/g);
  expect([...new Set(told)]).toEqual(["session.admitted", "session.suspended", "session.recovered", "session.ended"]);
});

test("of a long log the beginning and the end are kept, with a line that says so", async () => {
  const disk = new MemoryLogDisk();
  const { logs } = logsOn(disk);
  begin(logs, ONE);
  for (let line = 0; line < 12_000; line += 1)
    logs.log.info(`line ${line} `, { session: ONE, text: "x".repeat(1_000) });
  logs.end(ONE, "failed");
  await logs.close();
  const text = [...disk.files.values()].join("");
  expect(text.length).toBeWithin(8 * 1024 ** 2, 8.5 * 1024 ** 2);
  expect(text).toContain("line 0 ");
  expect(text).toContain("line 11999 ");
  expect(text).not.toContain("line 9000 ");
  expect(text).toMatch(/… \d+ lines are left out here/);
});

test("the newest hundred files are kept, and nothing that is not of this program is touched", async () => {
  const disk = new MemoryLogDisk();
  const foreign = "/logs/notes.log";
  disk.files.set(foreign, "");
  const old = (index: number): string =>
    `/logs/web-1_home_2025-01-01T00-00-00-${String(index).padStart(3, "0")}Z_${ONE.slice(0, 32)}${String(1000 + index)}.log`;
  for (let index = 0; index < 130; index += 1) disk.files.set(old(index), "");
  const { logs } = logsOn(disk);
  begin(logs, TWO);
  logs.log.info("hello", { session: TWO });
  logs.end(TWO, "failed");
  await logs.close();
  expect(disk.files.size).toBe(102);
  expect(disk.files.has(old(29))).toBe(false);
  expect(disk.files.has(old(30))).toBe(true);
  expect(disk.files.has(foreign)).toBe(true);
});

test("a directory that is full or cannot be made costs these files only and is told once", async () => {
  const disk = new MemoryLogDisk();
  const { logs, log } = logsOn(disk);
  disk.refusing = "ENOSPC";
  for (const session of [ONE, TWO]) {
    begin(logs, session);
    logs.log.info("hello", { session });
    logs.end(session, "failed");
  }
  await logs.close();
  expect(log.lines.filter(({ level }) => level === "warn")).toEqual([
    { level: "warn", message: "logs of sessions cannot be written", fields: { directory: "/logs", reason: "ENOSPC" } },
  ]);
  expect(log.lines.filter(({ message }) => message === "hello")).toHaveLength(2);
  disk.refusing = undefined;
  begin(logs, ONE);
  logs.log.info("again", { session: ONE });
  logs.end(ONE, "failed");
  await logs.close();
  expect(disk.files.size).toBe(1);
});

test("without a directory nothing is written, and one that is set while the program runs counts for the next session", async () => {
  const disk = new MemoryLogDisk();
  const { logs } = logsOn(disk, undefined);
  logs.use(undefined);
  begin(logs, ONE);
  logs.use("/logs");
  begin(logs, TWO);
  logs.log.info("hello", { session: TWO });
  logs.end(TWO, "failed");
  await logs.close();
  expect([...disk.files.keys()].map((path) => path.slice(-40, -4))).toEqual([TWO]);
});

test("on a real disk the directory is made for its owner alone, the file too", async () => {
  const directory = `${mkdtempSync(`${tmpdir()}/nbackup-logs-`)}/below/sessions`;
  const { logs } = logsOn(linuxSessionLogDisk, directory);
  begin(logs, ONE);
  logs.log.info("hello", { session: ONE });
  logs.end(ONE, "failed");
  await logs.close();
  const [name = ""] = readdirSync(directory);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(`${directory}/${name}`).mode & 0o777).toBe(0o600);
  expect(readFileSync(`${directory}/${name}`, "utf8")).toContain("hello");
  rmSync(directory.slice(0, -"/below/sessions".length), { recursive: true });
  expect(existsSync(directory)).toBe(false);
});

import { describe, expect, test } from "bun:test";
import { Recorder } from "#observe/recorder.ts";
import { OUTCOMES, parseEventRecord, parseSessionRecord } from "#observe/records.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { endedEvent, refusedEvent, sessionEnd } from "#test/support/session-end.ts";
import { SimClock } from "#test/support/sim-clock.ts";

interface Kit {
  readonly disk: MemoryDisk;
  readonly clock: SimClock;
  readonly log: ReturnType<typeof memoryLogger>;
  readonly recorder: Recorder;
}

async function kit(linesMax = 100): Promise<Kit> {
  const [disk, clock, log] = [new MemoryDisk(), new SimClock(), memoryLogger()];
  await disk.mkdir("/state", 0o700);
  return { disk, clock, log, recorder: await reopened({ disk, clock, log }, linesMax) };
}

function reopened(parts: Omit<Kit, "recorder">, linesMax = 100): Promise<Recorder> {
  const file = (name: string): { path: string; linesMax: number } => ({ path: `/state/${name}.jsonl`, linesMax });
  return Recorder.open({ ...parts, events: file("events"), history: file("history") });
}

describe("the recorder", () => {
  test("makes each event a line of the log and a record, and each end a record of the history, which the next start has", async () => {
    const k = await kit();
    k.recorder.emit({ kind: "storage.failed", level: "error", message: "no disk", fields: { storage: "main" } });
    await k.clock.advance(5000);
    k.recorder.emit(endedEvent({ removed: ["a"] }));
    await k.clock.until(k.recorder.close(), 10_000);
    expect(k.log.lines).toMatchObject([
      { level: "error", message: "no disk", fields: { event: "storage.failed", storage: "main" } },
      { level: "info", fields: { event: "session.committed", agent: "web-1" } },
    ]);
    const again = await reopened(k);
    expect(again.events.newest(9).map(({ kind, wallMs }) => [kind, wallMs - Date.UTC(2026, 0, 1)])).toEqual([
      ["session.committed", 5000],
      ["storage.failed", 0],
    ]);
    const endWallMs = Date.UTC(2026, 0, 1) + 5000;
    expect(again.history.newest(9)).toEqual([{ ...sessionEnd({ removed: ["a"] }), endWallMs, repeats: 0 }]);
    expect([...k.disk.tree("/state").keys()]).toEqual(["events.jsonl", "history.jsonl"]);
    await k.clock.until(again.close(), 10_000);
    expect(k.clock.pendingCount).toBe(0);
  });

  test("tells among the events that a disk refuses records, at the start too, and that it takes them again", async () => {
    const k = await kit();
    k.disk.hook = ({ call, path }) => {
      if (call === "write" && path.endsWith("history.jsonl")) throw diskError("ENOSPC");
    };
    k.recorder.emit(endedEvent({}));
    await k.clock.advance(2_000);
    k.disk.hook = () => undefined;
    await k.clock.advance(30_000);
    const told = (recorder: Recorder): readonly unknown[] =>
      recorder.events.newest(9).map(({ kind, fields }) => [kind, fields["file"], fields["reason"]]);
    const file = "/state/history.jsonl";
    const both = [
      ["records.recovered", file, undefined],
      ["records.failed", file, "ENOSPC"],
    ];
    expect(told(k.recorder).slice(0, 2)).toEqual(both);
    await k.clock.until(k.recorder.close(), 10_000);
    k.disk.hook = ({ call, path }) => {
      if (call === "open" && path === file) throw diskError("EIO");
    };
    const again = await reopened(k);
    expect(told(again)[0]).toEqual(["records.failed", file, "EIO"]);
    k.disk.hook = () => undefined;
    await k.clock.until(again.close(), 10_000);
  });

  test("tells the first of repeated refusals at once and then one a minute with how many more there were", async () => {
    const k = await kit();
    for (let second = 0; second < 150; second += 1) {
      k.recorder.emit(refusedEvent("web-1", "E_BUSY"));
      await k.clock.advance(1000);
    }
    expect(k.recorder.history.newest(99).map(({ repeats }) => repeats)).toEqual([59, 58, 0]);
    await k.clock.until(k.recorder.close(), 10_000);
    expect(k.log.lines.map(({ fields }) => fields["repeats"])).toEqual([undefined, 58, 59, 29]);
    const repeats = (await reopened(k)).history.newest(99).map((record) => record.repeats + 1);
    expect(repeats.reduce((sum, count) => sum + count, 0)).toBe(150);
  });

  test("writes what it holds of a backup's refusals before the end that follows them, and not behind it", async () => {
    const k = await kit();
    const outcomes = (): readonly string[] =>
      k.recorder.history.newest(99).map(({ agent, outcome, repeats }) => `${agent} ${outcome} ${repeats}`);
    for (const agent of ["web-2", "web-1", "web-2", "web-1", "web-1"]) k.recorder.emit(refusedEvent(agent, "E_FULL"));
    await k.clock.advance(1000);
    k.recorder.emit(endedEvent({}));
    const expected = ["web-1 committed 0", "web-1 refused 1", "web-1 refused 0", "web-2 refused 0"];
    expect(outcomes()).toEqual(expected);
    await k.clock.advance(200_000);
    expect(outcomes()).toEqual(["web-2 refused 0", ...expected]);
    await k.clock.until(k.recorder.close(), 10_000);
  });

  test("writes before a success also what it holds because its agent ends without end, and holds that again behind it", async () => {
    const k = await kit(999);
    const failed = { ...endedEvent({ outcome: "disowned", code: "E_DISOWNED", archive: null }), byAgent: "web-1" };
    for (let n = 0; n < 300; n += 1) k.recorder.emit(failed);
    k.recorder.emit(endedEvent({}));
    for (let n = 0; n < 300; n += 1) k.recorder.emit(failed);
    const [first, second] = k.recorder.history.newest(9);
    expect([first?.outcome, second?.outcome, second?.repeats]).toEqual(["committed", "disowned", 43]);
    await k.clock.until(k.recorder.close(), 10_000);
  });

  test("counts refusals of another agent or for another reason by themselves, and ends of sessions never", async () => {
    const k = await kit();
    for (const agent of ["web-1", "web-2"]) {
      for (const code of ["E_BUSY", "E_FULL", "E_FULL"]) k.recorder.emit(refusedEvent(agent, code));
    }
    k.recorder.emit(endedEvent({ outcome: "expired", code: "E_SESSION_EXPIRED" }));
    k.recorder.emit(endedEvent({ outcome: "expired", code: "E_SESSION_EXPIRED" }));
    // With the refusal of web-1 that was held until its session ended.
    expect(k.recorder.history.newest(99)).toHaveLength(7);
    await k.clock.advance(200_000);
    expect(k.recorder.history.newest(99)).toHaveLength(8);
    expect(k.clock.pendingCount).toBe(0);
    await k.clock.until(k.recorder.close(), 10_000);
  });

  test("has the ends of an agent's sessions one by one, but not those of one that begins and ends without end", async () => {
    const k = await kit(300);
    const ended = (agent: string): void =>
      k.recorder.emit({ ...endedEvent({ agent, outcome: "disowned", code: "E_DISOWNED" }), byAgent: agent });
    ended("web-2");
    for (let second = 0; second < 600; second += 1) {
      for (let n = 0; n < 10; n += 1) ended("web-1");
      await k.clock.advance(1000);
    }
    ended("web-3");
    const records = k.recorder.history.newest(999);
    const of = (name: string): number[] => records.filter(({ agent }) => agent === name).map((one) => one.repeats + 1);
    expect([of("web-2"), of("web-3")]).toEqual([[1], [1]]);
    // 256 came one by one, and then one a minute, which stands for all the others.
    expect(of("web-1").length).toBeWithin(256 + 8, 256 + 11);
    await k.clock.until(k.recorder.close(), 10_000);
    expect(k.log.lines.length).toBeWithin(256 + 10, 256 + 13);
    const told = k.log.lines.map(({ fields }) => 1 + Number(fields["repeats"] ?? 0));
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(6002);
    expect(k.clock.pendingCount).toBe(0);
  });

  test("stays bounded when somebody invents names", async () => {
    const k = await kit();
    for (let i = 0; i < 5000; i += 1) k.recorder.emit(refusedEvent(`web-${i}`, "E_STORAGE_DENIED"));
    expect(k.clock.pendingCount).toBeLessThan(1100);
    expect(k.log.lines.length).toBeLessThan(1100);
    await k.clock.until(k.recorder.close(), 10_000);
    expect(k.clock.pendingCount).toBe(0);
  });

  test("keeps no secrets, no endless texts and no more removed names than a line has room for", async () => {
    const k = await kit();
    const removed = Array.from({ length: 5000 }, (_, i) => `web-1/home/${i}`);
    k.recorder.emit(endedEvent({ message: "m".repeat(100_000), hint: "h".repeat(100_000), removed }));
    const fields = { password: "hunter2", list: removed.map((name) => name.repeat(100)) };
    k.recorder.emit({ kind: "a", level: "info", message: "b", fields });
    k.recorder.emit({ kind: "a", level: "info", message: "b", fields: { password: "hunter2" } });
    await k.clock.until(k.recorder.close(), 10_000);
    const { events, history } = await reopened(k);
    expect(history.newest(1)[0]?.removed).toHaveLength(200);
    expect(history.newest(1)[0]?.message.length).toBeLessThan(2100);
    expect(events.newest(2).map((event) => event.fields)).toEqual([
      { password: "[hidden]" },
      { leftOut: "see the log" },
    ]);
  });
});

describe("a record", () => {
  test("of any outcome is read as it was written", () => {
    for (const outcome of OUTCOMES) {
      const record = { ...sessionEnd({ outcome }), endWallMs: 5, repeats: 0 };
      expect(parseSessionRecord(JSON.parse(JSON.stringify(record)))).toEqual(record);
    }
  });
  test("of a later version with a key and an outcome unknown here is kept", () => {
    const record = { ...sessionEnd(), endWallMs: 5, repeats: 0 };
    const later = { ...record, outcome: "teleported", colour: "blue" };
    expect(parseSessionRecord(later)).toEqual({ ...record, outcome: "failed" });
  });
  test("that is none is refused", () => {
    for (const value of [undefined, null, 7, "x", [], {}, { ...sessionEnd(), agent: 7, endWallMs: 5, repeats: 0 }]) {
      expect(parseSessionRecord(value)).toBeUndefined();
      expect(parseEventRecord(value)).toBeUndefined();
    }
  });
});

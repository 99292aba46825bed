/** What becomes of a storage is told once per change, whoever finds it out and however often. */
import { afterEach, describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { StorageConditions } from "#server/storage-conditions.ts";
import type { StorageSpace } from "#store/space.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { ServerWorld, storageConfig } from "#test/support/server-world.ts";
import { endedEvent } from "#test/support/session-end.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const ROOM: StorageSpace = { freeBytes: 500, totalBytes: 1000, reserveBytes: 50 };
const LITTLE: StorageSpace = { ...ROOM, freeBytes: 40 };

interface Kit {
  readonly conditions: StorageConditions;
  readonly clock: SimClock;
  /** Kinds of the events that came out, with their codes or reasons. */
  told(): string[];
}

function kit(): Kit {
  const clock = new SimClock();
  const events: ObservedEvent[] = [];
  const conditions = new StorageConditions(clock, { emit: (event) => void events.push(event) });
  const told = (): string[] =>
    events.splice(0).map(({ kind, fields }) => `${kind} ${String(fields["code"] ?? fields["reason"] ?? "")}`.trim());
  return { conditions, clock, told };
}

const openFailed = (code = "E_STORAGE_FAILED"): ObservedEvent => ({
  ...{ kind: "storage.failed", level: "error", message: "storage main cannot be used" },
  fields: { storage: "main", code },
});

describe("the state of a storage", () => {
  test("is unknown, then ok without a word", () => {
    const { conditions, told } = kit();
    expect(conditions.of("main").state).toBe("unknown");
    conditions.works("main", ROOM);
    expect(conditions.of("main")).toMatchObject({ state: "ok", code: undefined, space: ROOM });
    expect(told()).toEqual([]);
  });

  test("that fails is told once, however often it is opened or looked at, and once more when it recovers", async () => {
    const { conditions, clock, told } = kit();
    conditions.works("main", ROOM);
    for (let i = 0; i < 5; i += 1) {
      conditions.emit(openFailed());
      conditions.failed("main", new Failure("E_STORAGE_FAILED", `storage main: EROFS ${i}`));
    }
    expect(told()).toEqual(["storage.failed E_STORAGE_FAILED"]);
    expect(conditions.of("main")).toMatchObject({ state: "failed", message: "storage main: EROFS 4" });
    await clock.advance(5000);
    conditions.works("main", ROOM);
    conditions.works("main", ROOM);
    expect(told()).toEqual(["storage.recovered E_STORAGE_FAILED"]);
    conditions.emit(openFailed("E_LOCKED"));
    conditions.emit(openFailed("E_STORAGE_FAILED"));
    expect(told()).toEqual(["storage.failed E_LOCKED", "storage.failed E_STORAGE_FAILED"]);
  });

  test("that has less room than its reserve is low until it has more", () => {
    const { conditions, told } = kit();
    conditions.works("main", LITTLE);
    conditions.works("main", { ...LITTLE, freeBytes: 30 });
    expect(conditions.of("main")).toMatchObject({ state: "low", code: "E_FULL", space: { freeBytes: 30 } });
    conditions.works("main", ROOM);
    expect(told()).toEqual(["storage.low E_FULL", "storage.recovered E_FULL"]);
  });

  test("on which a session filled the disk is low until a look finds room", () => {
    const { conditions, told } = kit();
    conditions.works("main", ROOM);
    const event = endedEvent({ outcome: "disk-full", code: "E_DISK_FULL" });
    conditions.emit(event);
    conditions.emit(event);
    expect(conditions.of("main")).toMatchObject({ state: "low", code: "E_DISK_FULL" });
    conditions.works("main", LITTLE);
    conditions.works("main", ROOM);
    expect(told()).toEqual([
      ...["session.ended", "storage.low E_DISK_FULL", "session.ended", "storage.recovered E_DISK_FULL"],
    ]);
  });

  test("whose disk reported an error is believed again only when a backup was committed there", () => {
    const { conditions, told } = kit();
    conditions.emit(endedEvent({ outcome: "disk-error", code: "E_DISK" }));
    conditions.works("main", ROOM);
    conditions.works("main", ROOM);
    expect(conditions.of("main").state).toBe("failed");
    conditions.emit(endedEvent({ storage: "other" }));
    expect(conditions.of("main").state).toBe("failed");
    conditions.emit(endedEvent());
    expect(conditions.of("main").state).toBe("ok");
    expect(told()).toEqual([
      ...["session.ended", "storage.failed E_DISK", "session.committed", "session.committed"],
      "storage.recovered E_DISK",
    ]);
  });

  test("is not changed by what is the agent's fault", () => {
    const { conditions } = kit();
    conditions.works("main", ROOM);
    conditions.emit(endedEvent({ outcome: "mismatch", code: "E_MISMATCH" }));
    conditions.emit(endedEvent({ outcome: "refused", session: null, code: "E_FULL" }));
    expect(conditions.of("main").state).toBe("ok");
  });

  test("is known as soon as an agent was refused because of it, by the code that was told first", () => {
    const { conditions, told } = kit();
    conditions.works("main", ROOM);
    conditions.emit(endedEvent({ outcome: "refused", session: null, code: "E_STORAGE_FAILED" }));
    expect(conditions.of("main").state).toBe("failed");
    conditions.works("main", ROOM);
    conditions.emit(openFailed("E_LOCKED"));
    conditions.emit(endedEvent({ outcome: "refused", session: null, code: "E_STORAGE_FAILED" }));
    expect(told().filter((kind) => kind.startsWith("storage."))).toEqual([
      ...["storage.failed E_STORAGE_FAILED", "storage.recovered E_STORAGE_FAILED", "storage.failed E_LOCKED"],
    ]);
  });
});

describe("a look once a minute", () => {
  let world: ServerWorld | undefined;
  afterEach(async () => {
    await world?.close();
    world = undefined;
  });
  const kinds = (w: ServerWorld): string[] =>
    w.events.map(({ kind }) => kind).filter((kind) => kind.startsWith("storage."));

  test("finds a storage that was unmounted, and that it is back", async () => {
    const disk = new MemoryDisk();
    world = await ServerWorld.start({ disk });
    await disk.rename("/srv/backups", "/srv/away");
    await world.clock.advance(200_000);
    expect(kinds(world)).toEqual(["storage.failed"]);
    await disk.rename("/srv/away", "/srv/backups");
    await world.clock.advance(61_000);
    expect(kinds(world)).toEqual(["storage.failed", "storage.recovered"]);
  });

  test("finds a storage that became read-only and one that could not be opened at the start", async () => {
    const disk = new MemoryDisk();
    let broken = true;
    disk.hook = ({ call, path }) => {
      if (broken && path.startsWith("/srv/late") && call === "lock") throw diskError("EROFS");
    };
    const storages = [storageConfig(), storageConfig({ name: "late", baseDir: "/srv/late" })];
    world = await ServerWorld.start({ disk, storages });
    expect(kinds(world)).toEqual(["storage.failed"]);
    await world.clock.advance(300_000);
    expect(kinds(world)).toEqual(["storage.failed"]);
    broken = false;
    await world.clock.advance(61_000);
    expect(kinds(world)).toEqual(["storage.failed", "storage.recovered"]);
    disk.hook = ({ call }) => {
      if (call === "writable") throw diskError("EROFS");
    };
    await world.clock.advance(120_000);
    expect(kinds(world)).toEqual(["storage.failed", "storage.recovered", "storage.failed", "storage.failed"]);
    disk.hook = () => undefined;
  });

  test("that does not come back is a failure too, and does not keep the server from stopping", async () => {
    const disk = new MemoryDisk();
    world = await ServerWorld.start({ disk });
    const { promise: answer, resolve } = Promise.withResolvers<void>();
    disk.hook = ({ call }) => (call === "writable" ? answer : undefined);
    await world.clock.advance(200_000);
    expect(world.eventsOf("storage.failed")).toMatchObject([{ fields: { code: "E_TIMEOUT" } }]);
    resolve();
    disk.hook = () => undefined;
    await world.clock.advance(61_000);
    expect(kinds(world)).toEqual(["storage.failed", "storage.recovered"]);
  });

  test("knows that the disk is nearly full", async () => {
    const disk = new MemoryDisk({ capacityBytes: 1_000_000 });
    world = await ServerWorld.start({ disk });
    disk.plant("/srv/other", Buffer.alloc(960_000));
    await world.clock.advance(61_000);
    expect(kinds(world)).toEqual(["storage.low"]);
    await disk.unlink("/srv/other");
    await world.clock.advance(61_000);
    expect(kinds(world)).toEqual(["storage.low", "storage.recovered"]);
  });
});

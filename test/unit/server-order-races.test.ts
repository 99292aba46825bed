/** Orders and maintenance that meet what ends, begins or hangs at the same moment. */
import { afterEach, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { toFailure } from "#base/errors.ts";
import type { AdminRequest } from "#server/admin.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { dataFrame, makeChunks } from "#test/support/script-client.ts";
import { beginOf, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";
import { settle } from "#test/support/sim-clock.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function ask(w: ServerWorld, request: AdminRequest): Promise<unknown> {
  const nothing = { newest: () => [], droppedLines: 0, failing: false };
  // None of these requests asks for records.
  const around = { pid: 1, events: nothing, history: nothing } as unknown as Parameters<
    typeof w.server.admin.handle
  >[1];
  return w.server.admin.handle(request, around);
}

/** Holds calls of the disk until it is let go. */
function hold(disk: MemoryDisk, matches: (call: string) => boolean): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  disk.hook = ({ call }) => (matches(call) ? promise : undefined);
  return () => {
    disk.hook = () => undefined;
    resolve();
  };
}

test("flow rotation orders nothing of a session whose end waits for a slow disk, and the server goes on", async () => {
  const disk = new MemoryDisk();
  const flowRotation = { enabled: true, minMbps: 1, evalWindowMs: 30_000, cooldownMs: 600_000 };
  const w = await start({ disk, flowRotation });
  const { admitted, link: main } = await w.session({ parallels: 2 });
  const frames = makeChunks(2, 60_000).map((chunk, slot) => dataFrame(chunk, { slot, generation: 1 }));
  const own = [w.stream(admitted.session, 0), w.stream(admitted.session, 1)];
  for (const { link } of own) {
    await w.wait(link.expect("welcome"));
    await w.wait(link.sack());
    // A Pong would stand in the middle of a frame.
    link.ignorePings();
  }
  let release = (): void => undefined;
  let aborted: Promise<unknown> | undefined;
  for (let second = 0; second < 40; second += 1) {
    for (const [slot, bytes] of [1_400, 100].entries()) {
      const frame = must(frames[slot], "frame");
      must(own[slot], "stream").link.raw(frame.subarray(second * bytes, (second + 1) * bytes));
    }
    if (second === 27) {
      release = hold(disk, () => true);
      aborted = ask(w, { command: "abort", session: admitted.session });
    }
    main.send("ping", { id: second });
    await w.clock.advance(1_000);
  }
  release();
  expect(await w.wait(must(aborted, "abort"))).toMatchObject({ outcome: "aborted" });
  expect(main.received.filter(({ type }) => type === "slotOrder")).toEqual([]);
});

test("maintenance that the state directory does not keep ends sessions all the same, and says so when they have ended", async () => {
  const disk = new MemoryDisk();
  const w = await start({ disk, maintenance: { kept: null, keep: () => Promise.reject(new Error("ENOSPC")) } });
  const { link } = await w.session();
  const release = hold(disk, () => true);
  let code: string | undefined;
  const answered = ask(w, { command: "maintenance", turn: "on", abort: true }).catch((error: unknown) => {
    code = toFailure(error).code;
  });
  await w.clock.advance(1_000);
  await settle();
  expect(code).toBeUndefined();
  release();
  await w.wait(answered);
  expect(code).toBe("E_STATE_DIR");
  expect((await w.wait(link.expect("ended"))).code).toBe("E_MAINTENANCE");
});

test("maintenance that is off but not kept so is kept when it is turned off again", async () => {
  const kept: unknown[] = [];
  let full = false;
  const keep = (on: unknown): Promise<void> => {
    if (full) return Promise.reject(new Error("ENOSPC"));
    kept.push(on);
    return Promise.resolve();
  };
  const w = await start({ maintenance: { kept: null, keep } });
  await w.wait(ask(w, { command: "maintenance", turn: "on" }));
  full = true;
  const refused = ask(w, { command: "maintenance", turn: "off" }).catch((error: unknown) => toFailure(error).code);
  expect(await w.wait(refused)).toBe("E_STATE_DIR");
  full = false;
  await w.wait(ask(w, { command: "maintenance", turn: "off" }));
  expect(kept.at(-1)).toBeNull();
  expect(w.eventsOf("maintenance.off")).toHaveLength(1);
  await w.wait(ask(w, { command: "maintenance", turn: "off" }));
  expect(kept).toHaveLength(2);
});

test("a session that is just being opened when maintenance begins is refused and leaves nothing", async () => {
  const disk = new MemoryDisk();
  const w = await start({ disk });
  const asking = await w.hello();
  const release = hold(disk, (call) => call === "create");
  asking.link.send("begin", beginOf());
  await w.clock.advance(100);
  await w.wait(ask(w, { command: "maintenance", turn: "on" }));
  release();
  expect(await w.wait(asking.link.expect("refused"))).toMatchObject({ code: "E_MAINTENANCE", retry: true });
  expect(w.unfinished()).toEqual([]);
});

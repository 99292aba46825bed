/** A state directory whose disk hangs costs what is remembered, and neither a run nor the daemon's stop. */
import { expect, test } from "bun:test";
import { LimitedStateDisk, STATE_CALL_MS_MAX } from "#agent/limited-state-disk.ts";
import { type StateDisk, StateStore } from "#agent/state-store.ts";
import type { Clock } from "#base/clock.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";

/** One that answers nothing until it is mended, and then does what it was asked for. */
class HangingDisk implements StateDisk {
  readonly files = new Map<string, string>();
  hangs = false;
  calls = 0;
  #mended = Promise.withResolvers<void>();

  async read(path: string): Promise<Uint8Array | undefined> {
    await this.#answer();
    const text = this.files.get(path);
    return text === undefined ? undefined : Buffer.from(text);
  }

  async replace(path: string, bytes: Uint8Array): Promise<void> {
    const text = Buffer.from(bytes).toString();
    await this.#answer();
    this.files.set(path, text);
  }

  mend(): void {
    this.hangs = false;
    this.#mended.resolve();
  }

  async #answer(): Promise<void> {
    this.calls += 1;
    if (this.hangs) await this.#mended.promise;
  }
}

function storeOn(
  disk: StateDisk,
  clock: Clock,
): { readonly store: StateStore; readonly log: ReturnType<typeof memoryLogger> } {
  const log = memoryLogger();
  return { store: new StateStore(new LimitedStateDisk(disk, clock), "/state", log), log };
}

const handled = (handledWallMs: number) => (state: Awaited<ReturnType<StateStore["read"]>>) => ({
  ...state,
  schedule: { expression: "0 2 * * *", handledWallMs },
});

test("a change is waited for 10 s, those behind it not at all, and what they say is written when the disk is back", async () => {
  const clock = new SimClock();
  const disk = new HangingDisk();
  const { store, log } = storeOn(disk, clock);
  await store.update("home", handled(1));
  disk.hangs = true;
  const first = store.update("home", handled(2));
  const second = store.update("home", handled(3));
  let settled = false;
  void store.settled().then(() => (settled = true));
  await clock.advance(STATE_CALL_MS_MAX - 1);
  expect(settled).toBe(false);
  await clock.advance(1);
  await Promise.all([first, second]);
  expect(settled).toBe(true);
  expect(store.failing).toBe(true);
  expect(log.lines.map(({ fields }) => fields["reason"])).toContain("ETIMEDOUT");
  const { calls } = disk;
  // Whoever looks meanwhile sees what is known, and no thread more hangs.
  expect((await store.read("home")).schedule?.handledWallMs).toBe(3);
  expect(disk.calls).toBe(calls);
  disk.mend();
  await clock.advance(1);
  await store.update("home", handled(4));
  expect(JSON.parse(disk.files.get("/state/home.json") ?? "")).toMatchObject({ schedule: { handledWallMs: 4 } });
  expect(store.failing).toBe(false);
  expect(clock.pendingCount).toBe(0);
});

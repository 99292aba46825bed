/** The look at source roots: in a thread, with a limit, and what a filesystem that does not answer costs. */
import { dlopen } from "bun:ffi";
import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Thread } from "#agent/pipeline-threads.ts";
import { HANGING_MAX, LOOK_MS_MAX, SourceLook } from "#agent/source-look.ts";
import { toFailure } from "#base/errors.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const spawn = (): Worker =>
  new Worker(new URL("../../src/bin/sources-worker.ts", import.meta.url).href, { smol: true });

const root = mkdtempSync(`${tmpdir()}/nbackup-look-`);
afterAll(() => rmSync(root, { recursive: true }));

const source = (path: string, optional = false) => ({ path, optional });
const failureOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => String(toFailure(error)),
  );

test("tells from its thread what the roots are, and what is missing", async () => {
  const look = new SourceLook(new SimClock(), spawn);
  mkdirSync(`${root}/empty`);
  await look.check([source(`${root}/empty`)]);
  const facts = await look.facts([source(`${root}/empty`), source(`${root}/gone`, true)]);
  expect(facts.map(({ path, kind, empty }) => [path, kind, empty])).toEqual([
    [`${root}/empty`, "directory", true],
    [`${root}/gone`, "missing", true],
  ]);
  expect(await failureOf(look.check([source(`${root}/gone`)]))).toBe(
    `E_SOURCE_MISSING: source ${root}/gone does not exist (ENOENT)`,
  );
});

/** A thread that says where it is, and never comes back. */
class HangingThread implements Thread {
  onmessage: Thread["onmessage"] = null;
  onerror: Thread["onerror"] = null;
  readonly #closed: (() => void)[] = [];

  addEventListener(type: "close" | "messageerror", listener: () => void): void {
    if (type === "close") this.#closed.push(listener);
  }

  postMessage(): void {
    this.onmessage?.(new MessageEvent("message", { data: { type: "at", path: "/mnt/nfs" } }));
  }

  terminate(): void {
    // The kernel does not let it go.
  }

  letGo(): void {
    for (const closed of this.#closed) closed();
  }
}

test("a root that does not answer fails that look with its path, and threads that hang are counted", async () => {
  const clock = new SimClock();
  const threads: HangingThread[] = [];
  const look = new SourceLook(clock, () => {
    threads.push(new HangingThread());
    return threads.at(-1) ?? new HangingThread();
  });
  const said = "E_SOURCE_MISSING: source /mnt/nfs has not answered for 60 s";
  for (let hanging = 0; hanging < HANGING_MAX; hanging += 1) {
    const failure = failureOf(look.check([source("/mnt/nfs")]));
    await clock.advance(LOOK_MS_MAX);
    expect(await failure).toBe(said);
  }
  expect(await failureOf(look.check([source("/srv")]))).toContain("/mnt/nfs, /mnt/nfs");
  expect(threads).toHaveLength(HANGING_MAX);
  threads[0]?.letGo();
  const stop = new AbortController();
  const failure = failureOf(look.check([source("/srv")], stop.signal));
  stop.abort();
  expect(await failure).toContain("E_INTERRUPTED");
  expect(clock.pendingCount).toBe(0);
});

const libc = dlopen("libc.so.6", {
  mount: { args: ["buffer", "buffer", "buffer", "u64", "buffer"], returns: "i32" },
  umount2: { args: ["buffer", "i32"], returns: "i32" },
});
const MNT_DETACH = 2;
const text = (value: string): Buffer => Buffer.from(`${value}\0`);

/** A filesystem whose server never answers; undefined where none can be mounted. */
function deadFilesystem(path: string): { readonly fd: number } | undefined {
  try {
    mkdirSync(path);
    const fd = openSync("/dev/fuse", "r+");
    const options = text(`fd=${fd},rootmode=40000,user_id=0,group_id=0`);
    if (libc.symbols.mount(text("dead"), text(path), text("fuse"), 0, options) === 0) return { fd };
    closeSync(fd);
  } catch (error) {
    console.warn(`agent-source-look: ${String(error)}`);
  }
  return undefined;
}

const deadPath = `${root}/dead`;
const dead = deadFilesystem(deadPath);
if (dead === undefined)
  console.warn("agent-source-look: no FUSE filesystem can be mounted here: a real hang is not tested");

test.skipIf(dead === undefined)("a real filesystem that hangs holds up its thread and nobody else", async () => {
  const clock = new SimClock();
  const look = new SourceLook(clock, spawn);
  const { promise: reached, resolve } = Promise.withResolvers<void>();
  const watched = new SourceLook(clock, () => {
    const worker = spawn();
    worker.addEventListener("message", () => resolve());
    return worker;
  });
  const failure = failureOf(watched.facts([source(deadPath)]));
  await reached;
  await look.check([source(`${root}/empty`)]);
  await clock.advance(LOOK_MS_MAX);
  expect(await failure).toBe(`E_SOURCE_MISSING: source ${deadPath} has not answered for 60 s`);
  // The connection ends, and the kernel lets the thread go.
  closeSync(dead?.fd ?? -1);
  expect(libc.symbols.umount2(text(deadPath), MNT_DETACH)).toBe(0);
});

/** Verification of several storages of one server in memory: which disks hold each other up, and what a reload takes away. */
import { afterEach, describe, expect, test } from "bun:test";
import { MiB } from "#base/units.ts";
import type { StorageConfig } from "#config/types.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import {
  beginOf,
  type OpenSession,
  ServerWorld,
  storageConfig,
  type WorldOptions,
} from "#test/support/server-world.ts";
import { settle } from "#test/support/sim-clock.ts";
import { held } from "#test/support/verify-kit.ts";

const DAY_MS = 86_400_000;
let world: ServerWorld | undefined;

async function start(options: WorldOptions): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

describe("several storages", () => {
  const verified = { maxBackups: 3, verifyIntegrity: true };
  const storages = [storageConfig(verified), storageConfig({ ...verified, name: "second", baseDir: "/srv/second" })];
  const apart = (baseDir: string): Promise<string> => Promise.resolve(baseDir);

  async function commitIn(w: ServerWorld, storage: string): Promise<OpenSession> {
    const session = await w.session({ storage, backup: storage });
    const chunks = makeChunks(2, 400);
    for (const chunk of chunks) session.link.data(chunk, { generation: 1 });
    session.link.send("finish", finishOf(chunks), 1);
    await w.wait(session.link.expect("committed"));
    return session;
  }

  /** Reads of archives below a directory do not come back until they are let go. */
  function hang(w: ServerWorld, below: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    w.disk.hook = ({ call, path }) =>
      call === "read" && path.startsWith(below) && path.endsWith(".tar.gz") ? promise : undefined;
    return () => {
      w.disk.hook = () => undefined;
      resolve();
    };
  }

  test("are verified side by side when they lie on different disks: one that hangs holds up no other, nor its scrub", async () => {
    const scrubbed = storages.map((storage) => ({ ...storage, scrubEveryMs: 10 * DAY_MS }));
    const w = await start({ storages: scrubbed, diskKey: apart });
    const go = hang(w, "/srv/backups");
    const hung = await commitIn(w, "main");
    const { link, admitted } = await commitIn(w, "second");
    expect((await w.wait(link.expect("verified"))).result).toBe("ok");
    await w.clock.advance(11 * DAY_MS);
    await settle();
    const read = w.eventsOf("archive.verified").map(({ fields }) => [fields["archive"], fields["by"]]);
    expect(read).toEqual([
      [admitted.archive, "verify_integrity"],
      [admitted.archive, "scrub"],
    ]);
    go();
    await w.clock.advance(1_000);
    expect(w.eventsOf("archive.verified").at(-1)?.fields["archive"]).toBe(hung.admitted.archive);
  });

  test("on one disk take turns, so that it reads one archive at a time", async () => {
    const { verify, go, begun } = held();
    const w = await start({ storages, verifyArchive: verify });
    const first = await commitIn(w, "main");
    const second = await commitIn(w, "second");
    await w.clock.advance(10_000);
    expect(begun()).toBe(1);
    go();
    for (const { link } of [first, second]) expect((await w.wait(link.expect("verified"))).result).toBe("ok");
  });

  test("count the memory of what is read in memory_limit, and let in who waited for it", async () => {
    const { verify, go } = held();
    // Room for two sessions, or one beside a verification.
    const w = await start({ storages, verifyArchive: verify, memoryBytesMax: 80 * MiB });
    await commitIn(w, "main");
    await w.clock.advance(10);
    await w.session({ backup: "one" });
    const waiting = await w.hello();
    waiting.link.send("begin", beginOf({ backup: "two" }));
    await w.wait(waiting.link.expect("queued"));
    go();
    await w.wait(waiting.link.expect("admitted"));
  });

  test("lose one to a reload cleanly: its reading ends, who waits hears so, its lock is free, and it goes on when it is back", async () => {
    const { verify, go } = held();
    const w = await start({ storages, diskKey: apart, verifyArchive: verify });
    const { link, admitted } = await commitIn(w, "second");
    await w.clock.advance(10);
    const [main, second] = storages as [StorageConfig, StorageConfig];
    await w.wait(w.server.reload(w.rules([main])));
    expect(await w.wait(link.expect("verified"))).toMatchObject({ result: "unknown" });
    expect(w.eventsOf("archive.unverified")).toEqual([]);
    expect(w.eventsOf("storage.closed")).toMatchObject([{ fields: { storage: "second" } }]);
    const free = await w.wait(w.openStorage(second));
    await w.wait(free.close());
    expect(w.server.view().verifyingCount).toBe(0);
    go();
    await w.wait(w.server.reload(w.rules([main, second])));
    await w.clock.advance(1_000);
    expect(w.eventsOf("archive.verified").map(({ fields }) => fields["archive"])).toEqual([admitted.archive]);
  });
});

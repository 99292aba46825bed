/** Who waits for the verification of an archive after its commit: connections that come back, and whole agents. */
import { afterEach, describe, expect, test } from "bun:test";
import { runBackup } from "#agent/backup-run.ts";
import { must } from "#base/assert.ts";
import { STORAGE_RETRY_MS } from "#server/limits.ts";
import { agentPlan, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import { beginOf, OTHER_RUN, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { commit, held, spoil } from "#test/support/verify-kit.ts";

const worlds: ServerWorld[] = [];

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  const storages = [storageConfig({ maxBackups: 1, verifyIntegrity: true })];
  const world = await ServerWorld.start({ storages, ...options });
  worlds.push(world);
  return world;
}

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

const archives = (w: ServerWorld): string[] => [...w.tree().keys()].filter((path) => path.endsWith(".tar.gz"));

describe("a verification", () => {
  test("that is over keeps nobody waiting whose storage cannot be used now", async () => {
    const w = await start();
    const { link, admitted } = await commit(w);
    expect((await w.wait(link.expect("verified"))).result).toBe("ok");
    // Another disk stands where it was.
    w.disk.hook = ({ call }) => {
      if (call === "lstat") throw diskError("ENOENT");
    };
    const next = await w.hello();
    next.link.send("begin", beginOf());
    await w.wait(next.link.expect("refused"));
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    await w.wait(back.link.expect("committed"));
    expect(await w.wait(back.link.expect("verified"))).toMatchObject({
      ...{ result: "unknown", message: "its storage cannot be used now, or has forgotten it" },
    });
    // The disk is there again, and nobody has looked at it since.
    w.disk.hook = () => undefined;
    await w.clock.advance(STORAGE_RETRY_MS);
    const later = w.resume(admitted.session);
    await w.wait(later.link.expect("welcome"));
    await w.wait(later.link.expect("committed"));
    expect((await w.wait(later.link.expect("verified"))).result).toBe("ok");
  });

  test("keeps nobody waiting because another storage hangs, and tells all who come back together", async () => {
    let opening: Promise<void> = Promise.resolve();
    const hanging: string[] = [];
    const known = new Set<string>();
    const knownStorages = {
      has: (directory: string) => known.has(directory),
      add: async (directory: string) => {
        known.add(directory);
        if (hanging.includes(directory)) await opening;
      },
    };
    const verified = { maxBackups: 3, verifyIntegrity: true };
    const storages = [storageConfig(verified), storageConfig({ name: "other", baseDir: "/srv/other" })];
    const w = await start({ storages, knownStorages });
    const { link, admitted } = await commit(w);
    await w.wait(link.expect("verified"));
    w.disk.hook = ({ call }) => {
      if (call === "lstat") throw diskError("ENOENT");
    };
    for (const storage of ["other", "main"]) {
      const next = await w.hello();
      next.link.send("begin", beginOf({ storage }));
      await w.wait(next.link.expect("refused"));
    }
    await w.clock.advance(2 * STORAGE_RETRY_MS);
    // The one is away, and the other does not answer.
    w.disk.hook = ({ call, path }) => {
      if (call === "lstat" && path.startsWith("/srv/backups")) throw diskError("ENOENT");
    };
    const { promise, resolve: go } = Promise.withResolvers<void>();
    opening = promise;
    hanging.push("/srv/other");
    const result = async (): Promise<string> => {
      const back = w.resume(admitted.session);
      await w.wait(back.link.expect("welcome"));
      await w.wait(back.link.expect("committed"));
      return (await w.wait(back.link.expect("verified"))).result;
    };
    expect(await result()).toBe("unknown");
    // Both are there again, and take their time.
    w.disk.hook = () => undefined;
    hanging.push("/srv/backups");
    await w.clock.advance(2 * STORAGE_RETRY_MS);
    const both = [result(), result()];
    await w.clock.advance(1_000);
    go();
    expect(await Promise.all(both)).toEqual(["ok", "ok"]);
  });

  test("is awaited also while the server is still taking over other sessions of the same storage", async () => {
    const storages = [storageConfig({ verifyIntegrity: true })];
    const first = await start({ storages });
    const chunks = makeChunks(2, 400);
    const other = await first.session({ backup: "etc" }, { run: OTHER_RUN });
    for (const chunk of chunks) other.link.data(chunk, { generation: 1 });
    await first.wait(other.link.sack((sack) => sack.files[0]?.durableChunks === 2));
    const { link, admitted } = await first.session();
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    await first.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    first.disk.hook = ({ call }) => {
      if (call === "link") first.disk.crash();
    };
    link.send("finish", finishOf(chunks), 1);
    await first.clock.advance(5_000);
    worlds.splice(worlds.indexOf(first), 1);
    const { promise: looking, resolve: seen } = Promise.withResolvers<string>();
    const { knownStorages } = first;
    const next = { disk: first.disk.reboot(), clock: new SimClock(), knownStorages, seed: 8, diskKey: () => looking };
    const starting = start({ storages, ...next });
    await next.clock.advance(300_000);
    const w = await starting;
    const back = w.resume(admitted.session);
    await w.clock.advance(2_000);
    expect(back.link.received.map(({ type }) => type)).not.toContain("verified");
    seen("a disk");
    await w.wait(back.link.expect("welcome"));
    await w.wait(back.link.expect("committed"));
    expect((await w.wait(back.link.expect("verified"))).result).toBe("ok");
  });

  test("that still waits for a storage which cannot be used is waited for", async () => {
    const w = await start();
    let broken = true;
    w.disk.hook = ({ call, path }) => {
      if (broken && call === "open" && path.endsWith(".tar.gz")) throw diskError("ESTALE");
    };
    const { link, admitted } = await commit(w);
    expect((await w.wait(link.expect("verified"))).result).toBe("unknown");
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    await w.wait(back.link.expect("committed"));
    broken = false;
    await w.clock.advance(10);
    expect(back.link.received.map(({ type }) => type)).not.toContain("verified");
    expect((await w.wait(back.link.expect("verified"))).result).toBe("ok");
  });
});

describe("an agent that waits for the verification", () => {
  async function backup(w: ServerWorld, during: (cut: () => void) => void = () => undefined) {
    const { deps, network } = agentWorld(w, () => new MadeUpProducer(w.clock, [1000, 2000]));
    const stop = new AbortController();
    /** How the log of the session ended. */
    const logs: string[] = [];
    const sessionLogs = { begin: () => undefined, end: (_: string, how: string) => void logs.push(how) };
    const plan = agentPlan({ waitVerify: true, parallels: 2 });
    const run = runBackup({ ...deps, sessionLogs }, plan, stop.signal, () => undefined);
    await w.clock.advance(5_000);
    during(() => network.cut());
    return { run, stop, logs };
  }

  test("stays until it is whole, through a lost connection", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const { run, logs } = await backup(w, (cut) => cut());
    await w.clock.advance(60_000);
    expect(w.eventsOf("session.committed")).toHaveLength(1);
    go();
    const result = await w.wait(run);
    expect([result.result, result.verify, result.failure]).toEqual(["committed", "ok", undefined]);
    expect(logs).toEqual(["good"]);
  });

  test("hears that its archive is damaged, and fails though it is committed", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const { run, logs } = await backup(w);
    await w.wait(spoil(w.disk, must(archives(w)[0], "an archive")));
    go();
    const result = await w.wait(run);
    expect([result.result, result.verify, result.failure?.code]).toEqual(["committed", "damaged", "E_ARCHIVE_DAMAGED"]);
    expect(result.failure?.message).toContain("its SHA-256 is not the one beside it");
    // It explains what was sent, and the run has failed.
    expect(logs).toEqual(["failed"]);
  });

  test("may be interrupted: the archive is committed, and what is known of it is said", async () => {
    const w = await start({ verifyArchive: held().verify });
    const { run, stop } = await backup(w);
    stop.abort();
    const result = await w.wait(run);
    expect([result.result, result.verify, result.failure?.exitCode]).toEqual(["committed", "unknown", 130]);
    expect(archives(w)).toHaveLength(1);
  });

  test("has nothing to wait for where the storage wants none", async () => {
    const w = await start({ storages: [storageConfig()] });
    const { run } = await backup(w);
    expect(await w.wait(run)).toMatchObject({ result: "committed", verify: "none", failure: undefined });
  });

  test("does not stay without being told to", async () => {
    const w = await start({ verifyArchive: held().verify });
    const { deps } = agentWorld(w, () => new MadeUpProducer(w.clock, [1000]));
    const result = await w.wait(runBackup(deps, agentPlan(), new AbortController().signal, () => undefined));
    expect([result.verify, result.failure]).toEqual(["pending", undefined]);
  });
});

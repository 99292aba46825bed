/** Who gets a session, who waits, who is refused: Begin told to a whole server in memory. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { AGENT_ENTRIES_MAX } from "#server/limits.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks, type ScriptChunk, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function sendAll(link: ScriptLink, chunks: readonly ScriptChunk[], generation: number): void {
  for (const chunk of chunks) link.data(chunk, { generation });
}

describe("admission", () => {
  test("beyond max_sessions agents wait in order of arrival, hear their position, and move up", async () => {
    const w = await start({ sessionsMax: 1 });
    const running = await w.session();
    const waiting = await Promise.all(
      ["web-2", "web-3", "web-4"].map(async (agent) => {
        const { link, pipe } = await w.hello(agent);
        link.send("begin", beginOf());
        return { link, pipe };
      }),
    );
    const [second, third, fourth] = waiting.map((one) => one.link);
    const positions = await w.wait(
      Promise.all(waiting.map(async ({ link }) => (await link.expect("queued")).position)),
    );
    expect(positions).toEqual([1, 2, 3]);
    must(waiting[1], "third agent").pipe.cut();
    const moved = await w.wait(must(fourth, "fourth").expect("queued"));
    expect(moved.position).toBe(2);
    running.link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.wait(must(second, "second").expect("admitted"));
    expect((await w.wait(must(fourth, "fourth").expect("queued"))).position).toBe(1);
    expect(must(third, "third").received.map((message) => message.type)).not.toContain("admitted");
  });

  test("memory_limit makes agents wait as well, but never the first", async () => {
    const w = await start({ memoryBytesMax: 1 });
    await w.session();
    const { link } = await w.hello("web-2");
    link.send("begin", beginOf());
    expect((await w.wait(link.expect("queued"))).position).toBe(1);
  });

  test("an agent that gives up waiting frees its place and its entry", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session({}, { agent: "web-2" });
    const { link } = await w.hello();
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.wait(link.closed());
    expect(w.server.view().waitingCount).toBe(0);
    const again = await w.hello();
    again.link.send("begin", beginOf());
    expect((await w.wait(again.link.expect("queued"))).position).toBe(1);
  });

  test("a session that does not fit beside reserve and running ones is refused with the missing bytes", async () => {
    const disk = new MemoryDisk({ capacityBytes: 100 * 1024 * 1024 });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 10, bytesMax: 2 ** 40 } })] });
    await w.session({ estimateBytes: 50 * 1024 * 1024 }, { agent: "web-2" });
    const { link } = await w.hello();
    link.send("begin", beginOf({ estimateBytes: 60 * 1024 * 1024 }));
    const refused = await w.wait(link.expect("refused"));
    expect(refused).toMatchObject({ code: "E_FULL", retry: false });
    expect(w.eventsOf("admission.refused")[0]).toMatchObject({ level: "warn", fields: { code: "E_FULL" } });
    expect(refused.hint).toMatch(/^Free \d+ more bytes \(20\.\d MB\) .*nbackup-server prune/);
    await w.wait(link.closed());
  });

  test("the size of the last archive counts when the agent announces less", async () => {
    const disk = new MemoryDisk({ capacityBytes: 10_000 });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 0, bytesMax: 0 } })] });
    const { link } = await w.session();
    const chunks = makeChunks(1, 6_000);
    sendAll(link, chunks, 1);
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    const next = await w.hello();
    next.link.send("begin", beginOf({ estimateBytes: 1 }));
    expect((await w.wait(next.link.expect("refused"))).code).toBe("E_FULL");
  });

  test("two entries of one agent run beside each other", async () => {
    const w = await start();
    const home = await w.session({ backup: "home" });
    const etc = await w.session({ backup: "etc" });
    expect(home.admitted.session).not.toBe(etc.admitted.session);
    expect(w.server.view().sessionCount).toBe(2);
  });

  test("two that ask at the same moment do not both get the room that only one has", async () => {
    const disk = new MemoryDisk({ capacityBytes: 100 * 1024 * 1024 });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 0, bytesMax: 0 } })] });
    const agents = await Promise.all(["web-1", "web-2", "web-3"].map((agent) => w.hello(agent)));
    // All three hear at once how much is free.
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.hook = (event) => (event.call === "space" ? promise : undefined);
    for (const { link } of agents) link.send("begin", beginOf({ estimateBytes: 60 * 1024 * 1024 }));
    await w.clock.advance(100);
    resolve();
    const answers = await w.wait(Promise.all(agents.map(({ link }) => link.next())));
    expect(answers.map((answer) => answer.type).sort()).toEqual(["admitted", "refused", "refused"]);
  });

  test("sessions of two storages on one disk share its room, those on another do not", async () => {
    const disk = new MemoryDisk({ capacityBytes: 100 * 1024 * 1024 });
    const none = { percent: 0, bytesMax: 0 };
    const storages = ["backups", "also", "else"].map((name) =>
      storageConfig({ name, baseDir: `/srv/${name}`, reserve: none }),
    );
    const w = await start({
      ...{ disk, storages },
      diskKey: (baseDir) => Promise.resolve(baseDir === "/srv/else" ? "second disk" : "first disk"),
    });
    const estimateBytes = 60 * 1024 * 1024;
    await w.session({ estimateBytes, storage: "backups" });
    const { link } = await w.hello("web-2");
    link.send("begin", beginOf({ estimateBytes, storage: "also" }));
    expect((await w.wait(link.expect("refused"))).code).toBe("E_FULL");
    await w.session({ estimateBytes, storage: "else" }, { agent: "web-3" });
  });

  test("a session that was refused or ended gives back the room that it was promised", async () => {
    const disk = new MemoryDisk({ capacityBytes: 100 * 1024 * 1024 });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 0, bytesMax: 0 } })] });
    const estimateBytes = 90 * 1024 * 1024;
    const { link } = await w.session({ estimateBytes });
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.wait(link.expect("ended"));
    await w.session({ estimateBytes }, { agent: "web-2" });
  });

  test("a disk that cannot be looked at is the storage's failure, which the agent retries, and no bug", async () => {
    const w = await start({ diskKey: () => Promise.reject(new Error("ENOENT: no such directory")) });
    const { link } = await w.hello();
    link.send("begin", beginOf());
    expect(await w.wait(link.expect("refused"))).toMatchObject({ code: "E_STORAGE_FAILED", retry: true });
  });

  test("a storage that is found gone and opened anew at any step of an admission is the one that takes the session", async () => {
    for (const step of [1, 2, 3, 4]) {
      const w = await start();
      let looks = 0;
      w.disk.hook = ({ call, path }) => {
        if (call !== "lstat" || path !== "/srv/backups") return;
        looks += 1;
        if (looks === step) throw diskError("ENOENT");
      };
      const { link } = await w.session();
      const chunks = makeChunks(1, 100);
      for (const chunk of chunks) link.data(chunk, { generation: 1 });
      link.send("finish", finishOf(chunks), 1);
      await w.wait(link.expect("committed"));
      expect(w.logged.filter((line) => line.startsWith("error"))).toEqual([]);
      expect(looks).toBeGreaterThan(2);
      w.disk.hook = () => undefined;
      await w.close();
      world = undefined;
    }
  });

  test("one agent holds a limited number of entries at once, running or in line", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session({ backup: "entry-0" });
    const links: ScriptLink[] = [];
    for (let entry = 1; entry < AGENT_ENTRIES_MAX; entry += 1) {
      const { link } = await w.hello();
      link.send("begin", beginOf({ backup: `entry-${entry}` }));
      links.push(link);
    }
    await w.wait(must(links.at(-1), "last").expect("queued"));
    const more = await w.hello();
    more.link.send("begin", beginOf({ backup: "one-too-many" }));
    expect(await w.wait(more.link.expect("refused"))).toMatchObject({ code: "E_LIMIT", retry: true });
    const other = await w.hello("web-2");
    other.link.send("begin", beginOf());
    expect((await w.wait(other.link.expect("queued"))).position).toBe(AGENT_ENTRIES_MAX);
    must(links[0], "first").destroy();
    await w.clock.advance(100);
    const again = await w.hello();
    again.link.send("begin", beginOf({ backup: "now-it-fits" }));
    await w.wait(again.link.expect("queued"));
  });
});

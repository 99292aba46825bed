/** No session stays silent: whatever ends it, its end is one event that says how, why and how far it came. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import type { SessionEnd } from "#observe/records.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks, type ScriptLink } from "#test/support/script-client.ts";
import {
  beginOf,
  helloOf,
  type OpenSession,
  OTHER_RUN,
  RUN,
  ServerWorld,
  storageConfig,
  type WorldOptions,
} from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const endsOf = (w: ServerWorld): SessionEnd[] => w.events.flatMap(({ end }) => (end === undefined ? [] : [end]));

/** The only end there is. */
function endOf(w: ServerWorld): SessionEnd {
  const ends = endsOf(w);
  expect(ends).toHaveLength(1);
  return must(ends[0], "end");
}

const chunks = makeChunks(3, 1000);

/** A session of which three chunks are durable. */
async function sent(w: ServerWorld): Promise<OpenSession> {
  const session = await w.session();
  for (const chunk of chunks) session.link.data(chunk, { generation: 1 });
  await w.wait(session.link.sack((sack) => sack.files[0]?.durableChunks === 3));
  return session;
}

async function ended(w: ServerWorld, link: ScriptLink): Promise<void> {
  await w.wait(link.expect("ended"));
}

describe("the end of a session that", () => {
  test("was committed says the archive, its digest, the totals and what rotation removed", async () => {
    const w = await start({ storages: [storageConfig({ maxBackups: 1 })] });
    const archives: string[] = [];
    for (let run = 0; run < 2; run += 1) {
      const { link, admitted } = await sent(w);
      archives.push(admitted.archive);
      link.data(must(chunks[0], "chunk"), { generation: 1 });
      link.send("finish", { ...finishOf(chunks), entries: 12, rawBytes: 5000, problems: 2 }, 1);
      await w.wait(link.expect("committed"));
    }
    const [first, second] = endsOf(w);
    expect(first).toMatchObject({ outcome: "committed", code: null, hint: null, archive: archives[0], removed: [] });
    expect(second).toMatchObject({
      ...{ agent: "web-1", backup: "home", storage: "main", run: RUN, streams: 1, archive: archives[1] },
      ...{ chunks: 3, bytes: 3000, duplicateBytes: 1000, archiveBytes: 3000, entries: 12, rawBytes: 5000, problems: 2 },
      sha256: Buffer.from(must(finishOf(chunks).files[0], "file").sha256).toString("hex"),
      removed: [must(archives[0], "archive")],
    });
    expect(w.eventsOf("archives.removed").map(({ fields }) => fields)).toEqual([
      { storage: "main", agent: "web-1", backup: "home", removed: [must(archives[0], "archive")] },
    ]);
  });

  test("was given up by the agent is disowned, with the agent's reason", async () => {
    const w = await start();
    const { link } = await sent(w);
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" }, 1);
    await ended(w, link);
    expect(endOf(w)).toMatchObject({ outcome: "disowned", code: "E_DISOWNED", chunks: 3, bytes: 3000, archive: null });
    expect(endOf(w).message).toContain("E_INTERRUPTED: stopped");
  });

  test("nobody came back to is expired, with its break", async () => {
    const w = await start({ sessionIdleTimeoutMs: 30_000 });
    const { pipe } = await sent(w);
    pipe.cut();
    await w.clock.advance(31_000);
    expect(endOf(w)).toMatchObject({ outcome: "expired", code: "E_SESSION_EXPIRED", breaks: 1 });
    expect(endOf(w).durationMs).toBeGreaterThanOrEqual(30_000);
  });

  test("a newer run took over is superseded", async () => {
    const w = await start();
    const { pipe } = await sent(w);
    pipe.cut();
    await w.clock.advance(10);
    await w.session({}, { run: OTHER_RUN });
    expect(endOf(w)).toMatchObject({ outcome: "superseded", code: "E_SUPERSEDED", run: RUN });
  });

  test("broke the protocol, or whose proof differs, says so", async () => {
    const w = await start();
    const one = await sent(w);
    one.link.data(must(chunks[0], "chunk"), { generation: 7 });
    await ended(w, one.link);
    expect(endOf(w)).toMatchObject({ outcome: "protocol", code: "E_PROTOCOL" });
    const two = await sent(w);
    const wrong = makeChunks(3, 1000, 0).map((chunk) => ({ ...chunk, stored: chunk.stored.map((byte) => byte ^ 1) }));
    two.link.send("finish", finishOf(wrong), 1);
    await ended(w, two.link);
    expect(endsOf(w)[1]).toMatchObject({ outcome: "mismatch", code: "E_MISMATCH", chunks: 3 });
  });

  test.each([
    ["ENOSPC", "disk-full", "E_DISK_FULL", "storage.low"],
    ["EIO", "disk-error", "E_DISK", "storage.failed"],
  ])("the disk failed with %s is %s, and the storage's state shows it", async (errno, outcome, code, event) => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link } = await w.session();
    disk.hook = ({ call, path }) => {
      if (call === "write" && path.endsWith(".part")) throw diskError(errno);
    };
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    await ended(w, link);
    disk.hook = () => undefined;
    expect(endOf(w)).toMatchObject({ outcome, code });
    expect(w.eventsOf(event)).toMatchObject([{ fields: { storage: "main", code } }]);
    const health = w.connect().link;
    health.send("hello", helloOf({ role: "health" }));
    await w.wait(health.expect("welcome"));
    const { storages } = await w.wait(health.expect("health"));
    // A disk with an error is in trouble whatever it has free; one that ran full has room again.
    expect(storages.map(({ state }) => state)).toEqual([errno === "EIO" ? "failed" : "ok"]);
  });

  test("the server was stopped under is told too", async () => {
    const w = await start();
    await sent(w);
    await w.close();
    world = undefined;
    expect(["shutdown", "suspended"]).toContain(endOf(w).outcome);
  });
});

describe("an agent that", () => {
  test("was refused is in the history with code and hint, and marked as one that may repeat itself", async () => {
    const w = await start({ storages: [storageConfig({ allowAgents: ["db-*"] })] });
    const { link } = await w.hello();
    link.send("begin", beginOf({ parallels: 4 }));
    await w.wait(link.expect("refused"));
    expect(endOf(w)).toMatchObject({
      ...{ session: null, agent: "web-1", backup: "home", storage: "main", run: RUN, outcome: "refused" },
      ...{ code: "E_STORAGE_DENIED", streams: 4, chunks: 0, archive: null, durationMs: 0 },
    });
    expect(endOf(w).hint).toContain("allow_agents");
    const refused = w.eventsOf("admission.refused")[0];
    expect([refused?.repeatKey, refused?.byAgent]).toEqual(["web-1/home E_STORAGE_DENIED", "web-1"]);
  });

  test("left while it waited is in the history as one that left or gave up", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session();
    const [gone, disowning] = [await w.hello("web-2"), await w.hello("web-3")];
    for (const { link } of [gone, disowning]) {
      link.send("begin", beginOf());
      await w.wait(link.expect("queued"));
    }
    gone.pipe.cut();
    disowning.link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.clock.advance(100);
    expect(
      endsOf(w)
        .map(({ agent, outcome, session }) => [agent, outcome, session])
        .sort(),
    ).toEqual([
      ["web-2", "left", null],
      ["web-3", "disowned", null],
    ]);
  });

  test("begins and gives up, over and over, is named with every event as the one whose doing it is", async () => {
    const w = await start();
    for (let n = 0; n < 2; n += 1) {
      const { link } = await w.session({ backup: `made-up-${n}` });
      link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
      await w.wait(link.expect("ended"));
    }
    const told = w.events.filter(({ kind }) => kind.startsWith("session."));
    expect(told.map(({ byAgent }) => byAgent)).toEqual(Array<string>(4).fill("web-1"));
  });

  test("never said what it wants is an event at most", async () => {
    const w = await start();
    const { pipe } = await w.hello();
    pipe.cut();
    await w.clock.advance(100);
    expect(w.eventsOf("admission.left")).toHaveLength(1);
    expect(endsOf(w)).toEqual([]);
  });

  test("is refused at the door is an event with the name in its certificate", async () => {
    const w = await start();
    const { link } = w.connect("web-9");
    link.send("ping", { id: 1 });
    await w.wait(link.expect("refused"));
    const other = w.connect("web-9");
    other.link.send("hello", helloOf({ agent: "web-1" }));
    await w.wait(other.link.expect("refused"));
    expect(w.eventsOf("connection.refused")).toMatchObject([
      { level: "warn", repeatKey: "web-9 E_PROTOCOL", fields: { agent: "web-9", code: "E_PROTOCOL" } },
      { level: "warn", repeatKey: "web-9 E_IDENTITY", fields: { agent: "web-9", code: "E_IDENTITY" } },
    ]);
  });
});

/** Every refusal with its code, sentence and hint, and answers that outlive the server that gave them first. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import {
  beginOf,
  helloOf,
  OTHER_RUN,
  ServerWorld,
  storageConfig,
  type WorldOptions,
} from "#test/support/server-world.ts";
import type { Message } from "#wire/messages.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

/** The answer to a Hello, which must be a refusal after which the connection is closed. */
async function refusedHello(w: ServerWorld, hello: Partial<Message<"hello">>, commonName = "web-1") {
  const { link } = w.connect(commonName);
  link.send("hello", helloOf(hello));
  const refused = await w.wait(link.expect("refused"));
  expect(await w.wait(link.closed())).toBeUndefined();
  return refused;
}

async function refusedBegin(w: ServerWorld, begin: Partial<Message<"begin">>, agent = "web-1") {
  const { link } = await w.hello(agent);
  link.send("begin", beginOf(begin));
  const refused = await w.wait(link.expect("refused"));
  expect(await w.wait(link.closed())).toBeUndefined();
  expect(w.eventsOf("admission.refused").at(-1)?.fields).toMatchObject({ agent, code: refused.code });
  return refused;
}

describe("Hello", () => {
  test("of an agent whose name is not its certificate's CN is E_IDENTITY", async () => {
    const refused = await refusedHello(await start(), { agent: "web-2" }, "web-1");
    expect(refused).toMatchObject({ code: "E_IDENTITY", retry: false });
    expect(refused.message).toBe("the agent calls itself web-2 but its certificate is for web-1");
  });

  test("on a certificate that is not valid any more is refused with what is wrong with it", async () => {
    const w = await start();
    let expired = false;
    const { link } = w.connectAs(() => {
      if (expired) throw new Failure("E_TLS", "the certificate of agent web-1: it expired yesterday");
      return { commonName: "web-1", fingerprint: "00".repeat(32), notBeforeMs: 0, notAfterMs: 2e12, serial: "01" };
    });
    expired = true;
    link.send("hello", helloOf({}));
    expect((await w.wait(link.expect("refused"))).code).toBe("E_TLS");
  });

  test("a connection whose certificate is bad from the start is refused without a Hello", async () => {
    const w = await start();
    const { link } = w.connectAs(() => {
      throw new Failure("E_IDENTITY", "the agent's certificate has 2 CNs, expected exactly one");
    });
    expect((await w.wait(link.expect("refused"))).code).toBe("E_IDENTITY");
    await w.wait(link.closed());
    expect(w.server.view().connectionCount).toBe(0);
  });

  test("without a common version is E_VERSION, which names both ranges", async () => {
    const refused = await refusedHello(await start(), { versionMin: 7, versionMax: 9 });
    expect(refused).toMatchObject({ code: "E_VERSION", retry: false });
    expect(refused.message).toContain("7-9");
  });

  test("of a newer agent that still speaks version 1 is welcomed with version 1", async () => {
    const w = await start();
    const { link } = w.connect();
    link.send("hello", helloOf({ versionMin: 1, versionMax: 9 }));
    expect((await w.wait(link.expect("welcome"))).version).toBe(1);
  });

  test("of a stream that names no session or slot is E_PROTOCOL", async () => {
    expect((await refusedHello(await start(), { role: "stream" })).code).toBe("E_PROTOCOL");
  });
});

describe("Begin", () => {
  test("for a storage that is not configured is E_STORAGE_UNKNOWN, whose hint names those that are", async () => {
    const refused = await refusedBegin(await start(), { storage: "tape" });
    expect(refused).toMatchObject({ code: "E_STORAGE_UNKNOWN", retry: false });
    expect(refused.hint).toContain("main");
  });

  test("of an agent that allow_agents does not name is E_STORAGE_DENIED", async () => {
    const w = await start({ storages: [storageConfig({ allowAgents: ["db-*"] })] });
    expect(await refusedBegin(w, {})).toMatchObject({ code: "E_STORAGE_DENIED", retry: false });
    const allowed = await w.hello("db-1");
    allowed.link.send("begin", beginOf());
    await w.wait(allowed.link.expect("admitted"));
  });

  test("with a window too small for its chunks is E_WINDOW_SIZE", async () => {
    const refused = await refusedBegin(await start(), { windowBytes: MiB });
    expect(refused).toMatchObject({ code: "E_WINDOW_SIZE", retry: false });
  });

  test("with a chunk size that no agent has is E_PROTOCOL", async () => {
    expect((await refusedBegin(await start(), { chunkBytes: 12_345 })).code).toBe("E_PROTOCOL");
  });

  test("for a storage that cannot be used is E_STORAGE_FAILED, and the others go on", async () => {
    const disk = new MemoryDisk();
    const storages = [storageConfig(), storageConfig({ name: "broken", baseDir: "/mnt/broken" })];
    disk.hook = (event) => {
      if (event.path.startsWith("/mnt/broken/")) throw diskError("EROFS");
    };
    const w = await start({ disk, storages });
    expect(w.eventsOf("storage.failed").map((event) => event.fields["storage"])).toEqual(["broken"]);
    const refused = await refusedBegin(w, { storage: "broken" });
    expect(refused).toMatchObject({ code: "E_STORAGE_FAILED", retry: true });
    await w.session({}, { agent: "web-2" });
  });

  test("opens a storage that had failed as soon as it can be used again", async () => {
    const disk = new MemoryDisk();
    disk.hook = (event) => {
      if (event.path.includes(".nbackup")) throw diskError("EIO");
    };
    const w = await start({ disk });
    expect((await refusedBegin(w, {})).code).toBe("E_STORAGE_FAILED");
    disk.hook = () => undefined;
    await w.session();
  });

  test("refused leaves its entry free and nothing on the disk", async () => {
    const w = await start();
    for (const begin of [{ storage: "tape" }, { windowBytes: 1 }, { chunkBytes: 1 }]) await refusedBegin(w, begin);
    expect(w.unfinished()).toEqual([]);
    await w.session({}, { run: OTHER_RUN });
  });
});

describe("a Finish whose answer was lost", () => {
  async function commit(w: ServerWorld): Promise<Message<"admitted">> {
    const { link, pipe, admitted } = await w.session();
    const chunks = makeChunks(2, 100);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    pipe.cut();
    return admitted;
  }

  async function askedAgain(w: ServerWorld, admitted: Message<"admitted">): Promise<void> {
    const { link } = w.resume(admitted.session);
    await w.wait(link.expect("welcome"));
    const first = await w.wait(link.expect("committed"));
    expect(first).toMatchObject({ session: admitted.session, archive: admitted.archive, bytes: 200 });
    link.send("finish", finishOf(makeChunks(2, 100)));
    expect(await w.wait(link.expect("committed"))).toEqual(first);
  }

  test("gets the same answer on a later connection, as often as it is asked", async () => {
    const w = await start();
    const admitted = await commit(w);
    await askedAgain(w, admitted);
    await askedAgain(w, admitted);
    expect(w.eventsOf("session.committed")).toHaveLength(1);
  });

  test("gets the same answer after the server was started anew, and no other run or agent gets it", async () => {
    const before = await start();
    const admitted = await commit(before);
    await before.close();
    const after = await start({ disk: before.disk });
    expect(after.server.boot).toBeString();
    await askedAgain(after, admitted);
    for (const stranger of [{ run: OTHER_RUN }, { agent: "web-2" }]) {
      const { link } = after.resume(admitted.session, stranger);
      expect((await after.wait(link.expect("refused"))).code).toBe("E_SESSION_GONE");
    }
  });

  test("gets the same answer after the archive was rotated away", async () => {
    const w = await start({ storages: [storageConfig({ maxBackups: 1 })] });
    const first = await commit(w);
    const second = await commit(w);
    expect(w.tree().has(first.archive)).toBe(false);
    expect(w.tree().has(second.archive)).toBe(true);
    await askedAgain(w, first);
  });
});

test("every end of a session is one event with its reason and totals", async () => {
  const w = await start();
  const { link } = await w.session();
  link.data(must(makeChunks(1, 300)[0], "chunk"), { generation: 1 });
  await w.wait(link.sack());
  link.send("ping", { id: 1, entries: 5, rawBytes: 777 });
  link.send("disown", { code: "E_INTERRUPTED", message: "stopped\nby a person" });
  const ended = await w.wait(link.expect("ended"));
  expect(ended).toMatchObject({ code: "E_DISOWNED", retry: true });
  const events = w.eventsOf("session.ended");
  expect(events).toHaveLength(1);
  expect(events[0]?.message).not.toContain("\n");
  expect(events[0]?.fields).toMatchObject({ code: "E_DISOWNED", chunks: 1, bytes: 300, entries: 5, rawBytes: 777 });
});

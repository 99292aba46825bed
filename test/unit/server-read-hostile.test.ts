/** Agents at the read desk that ask for what is not theirs, or for more than may be. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { MiB } from "#base/units.ts";
import {
  ARCHIVE,
  ARCHIVE_BYTES,
  bytesOf,
  failed,
  INDEX,
  openOf,
  OWN_FILES,
  plantedWorld,
  readHello,
  readOf,
} from "#test/support/read-kit.ts";
import type { ScriptLink } from "#test/support/script-client.ts";
import { helloOf, type ServerWorld } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function planted(): Promise<ServerWorld> {
  world = await plantedWorld();
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

describe("an agent that asks for what is not its own", () => {
  test("sees nothing of another's, under whatever name it asks", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("list", { request: 1, facts: true });
    const { rows } = await w.wait(link.expect("archives"));
    expect(rows.map(({ backup }) => backup)).toEqual(["home"]);
    await w.wait(link.expect("archives"));
    link.send("list", { request: 2, backup: "secret", facts: true });
    expect(await w.wait(link.expect("archives"))).toEqual({ request: 2, rows: [], last: true });
    link.send("open", openOf({ request: 3, backup: "secret" }));
    expect(await failed(w, link)).toMatch(/^E_ARCHIVE_UNKNOWN: web-1\/secret\//);
  });

  test("cannot say it is another one", async () => {
    const w = await planted();
    const { link } = w.connect("web-2");
    link.send("hello", helloOf({ role: "read", agent: "web-1" }));
    expect((await w.wait(link.expect("refused"))).code).toBe("E_IDENTITY");
  });

  test("gets nothing for a name that is a path, a companion's, or no archive's at all", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    const names = [
      ...["", "..", `../../web-2/secret/${ARCHIVE}`, `../home/${ARCHIVE}`, INDEX, `${ARCHIVE}.sha256`],
      ...[`/srv/backups/web-1/home/${ARCHIVE}`, `${ARCHIVE}\0`, "2026-02-30T02-00-00-123Z.tar.gz", `./${ARCHIVE}`],
    ];
    for (const [request, name] of names.entries()) {
      link.send("open", openOf({ request, name: name.slice(0, 64) }));
      expect(await failed(w, link)).toStartWith("E_ARCHIVE_UNKNOWN");
    }
    expect(w.eventsOf("archive.read")).toEqual([]);
  });

  test("and reaches no file through a link that lies among the archives", async () => {
    const w = await planted();
    const name = "2026-02-13T02-00-00-123Z.tar.gz";
    w.disk.symlink(`/srv/backups/web-2/secret/${ARCHIVE}`, `/srv/backups/web-1/home/${name}`);
    const { link } = await readHello(w);
    link.send("list", { request: 1, facts: false });
    expect((await w.wait(link.expect("archives"))).rows.map((row) => row.name)).toEqual([ARCHIVE]);
    await w.wait(link.expect("archives"));
    link.send("open", openOf({ request: 2, name }));
    expect(await failed(w, link)).toStartWith("E_ARCHIVE_READ");
  });
});

describe("an agent that breaks the rules", () => {
  test("is answered that a range ends beyond the file, and goes on", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    for (const [offset, length] of [
      [699_001, 1000],
      [700_000, 1],
      [2 ** 52, MiB],
      [Number.MAX_SAFE_INTEGER - 1, 1],
    ] as const) {
      link.send("read", readOf({ offset, length }));
      expect(await failed(w, link)).toMatch(/^E_ARCHIVE_READ: .* has 700000 bytes, and \d+ were to be read/);
    }
    link.send("read", readOf({ offset: 699_000, length: 1000 }));
    link.send("close", { open: 1 });
    link.send("open", openOf({ request: 9, indexOnly: true }));
    expect(await w.wait(link.expect("opened"))).toEqual({ request: 9, indexBytes: 5000 });
    link.send("read", readOf({ request: 10, open: 9 }));
    expect(await failed(w, link)).toMatch(/is not open$/);
    expect(bytesOf(link, 2).equals(ARCHIVE_BYTES.subarray(699_000))).toBe(true);
  });

  test("loses its connection for a number that it did not open, or has closed", async () => {
    const w = await planted();
    for (const break_ of [
      (link: ScriptLink) => link.send("read", readOf({ open: 7 })),
      (link: ScriptLink) => link.send("close", { open: 7 }),
      (link: ScriptLink) => link.send("open", openOf()),
    ]) {
      const { link } = await readHello(w);
      link.send("open", openOf());
      await w.wait(link.expect("opened"));
      break_(link);
      expect((await w.wait(link.expect("refused"))).code).toBe("E_PROTOCOL");
      await w.wait(link.closed());
    }
    expect(w.disk.openFiles).toBe(OWN_FILES);
  });

  test("loses its connection for more requests than may wait", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    for (let request = 2; request < 200; request += 1) link.send("read", readOf({ request, length: 700_000 }));
    expect(await w.wait(link.expect("refused"))).toMatchObject({ code: "E_LIMIT" });
  });

  test("may ask as often as it likes as long as it waits for the answers", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    for (let request = 1; request < 2000; request += 2) {
      link.send("open", openOf({ request, indexOnly: true }));
      await w.wait(link.expect("opened"));
      link.send("close", { open: request });
    }
    await w.clock.advance(10);
    expect([link.isClosed, w.disk.openFiles]).toEqual([false, OWN_FILES]);
  });

  test("may have 80 archives open and no more, and gets room again by closing one", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    for (let request = 1; request <= 80; request += 1) {
      link.send("open", openOf({ request }));
      await w.wait(link.expect("opened"));
    }
    link.send("open", openOf({ request: 81 }));
    expect(await failed(w, link)).toMatch(/^E_LIMIT: 80 archives are open/);
    link.send("close", { open: 3 });
    link.send("open", openOf({ request: 82 }));
    await w.wait(link.expect("opened"));
    expect(w.disk.openFiles).toBe(OWN_FILES + 160);
  });

  test("may have 160 archives open on all its connections, and leaves the rest to others", async () => {
    const w = await planted();
    const links = [await readHello(w), await readHello(w), await readHello(w)].map(({ link }) => link);
    for (const link of links.slice(0, 2)) {
      for (let request = 1; request <= 80; request += 1) {
        link.send("open", openOf({ request }));
        await w.wait(link.expect("opened"));
      }
    }
    const third = must(links[2], "a third connection");
    third.send("open", openOf());
    expect(await failed(w, third)).toMatch(/^E_LIMIT: 160 archives are open already by agent web-1/);
    const other = await readHello(w, "db-1");
    other.link.send("open", openOf());
    // It has none of that name; it is not held up.
    expect(await failed(w, other.link)).not.toContain("E_LIMIT");
    must(links[0], "a first one").send("close", { open: 3 });
    third.send("open", openOf({ request: 2 }));
    await w.wait(third.expect("opened"));
  });

  test("gets eight read connections, and all agents together 64", async () => {
    const w = await planted();
    for (let n = 0; n < 8; n += 1) await readHello(w);
    const refused = async (agent: string): Promise<string> => {
      const { link } = w.connect(agent);
      link.send("hello", helloOf({ role: "read", agent }));
      return (await w.wait(link.expect("refused"))).message;
    };
    expect(await refused("web-1")).toBe("8 connections of agent web-1 read archives already");
    for (let n = 0; n < 56; n += 1) await readHello(w, `db-${n % 7}`);
    expect(await refused("web-3")).toBe("64 agents read archives already");
  });
});

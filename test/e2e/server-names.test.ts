/**
 * An agent with a good certificate that says what it must not: names that leave the base directory, names of others,
 * sessions of others, frames that are too large. Spoken by hand, because the real agent would not.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { validityAround } from "#test/support/pki.ts";
import { frameHeader, RawClient, type RawTls } from "#test/support/raw-client.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { AGENT, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

/** Each of them is a path to somebody, or is hidden, or moves a terminal's cursor. */
const BAD_NAMES: readonly unknown[] = [
  "..",
  ".",
  "",
  "../../etc/cron.d",
  "/etc",
  "a/b",
  "a\\b",
  ".nbackup",
  "-rf",
  "a\0b",
  "new\nline",
  "\u001b[2J",
  "x".repeat(65),
  "é",
  "web-1/../web-2",
  42,
  null,
  { path: "x" },
  new Uint8Array([0x2e, 0x2e]),
];

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make([AGENT, "web-2"]);
  server = await site.startServer();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const tls = (name = AGENT): RawTls => ({ caPath: site.pki.caPath, pair: site.pki.agent(name) });

const hello = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  role: "session",
  versionMin: 1,
  versionMax: 1,
  agent: AGENT,
  software: "by hand",
  run: crypto.randomUUID(),
  ...more,
});

const begin = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  backup: "all",
  storage: STORAGE,
  estimateBytes: 0,
  chunkBytes: 0,
  windowBytes: 256 * MiB,
  parallels: 0,
  ...more,
});

/** Says Hello, and what the test adds; returns the code with which the server refuses. */
async function refusal(say: (client: RawClient) => Promise<void> | void, as = tls()): Promise<string> {
  const client = await RawClient.connect(server.port, as);
  await say(client);
  const { body } = await client.message("refused");
  expect(await client.closedAfterMs()).toBeLessThan(10_000);
  expect(body.hint).not.toBe("");
  return body.code;
}

async function welcomed(client: RawClient, body = hello()): Promise<void> {
  client.frame("hello", body);
  await client.message("welcome");
}

/** Everything that exists where names could lead to: the site, but for what the tests themselves put there. */
/** But for what the server writes whenever a certificate was let in. */
const everything = (): string[] =>
  (readdirSync(site.directory, { recursive: true }) as string[])
    .filter((file) => !file.startsWith("state/certificates.json"))
    .sort();

describe("a name that could leave its directory", () => {
  test.each(BAD_NAMES)("is refused as the agent's in Hello: %p", async (agent) => {
    const before = everything();
    expect(await refusal((client) => client.frame("hello", hello({ agent })))).toBe("E_PROTOCOL");
    expect(everything()).toEqual(before);
  });

  test.each(BAD_NAMES)("is refused as the backup's in Begin: %p", async (backup) => {
    const before = everything();
    const code = await refusal(async (client) => {
      await welcomed(client);
      client.frame("begin", begin({ backup }));
    });
    expect(code).toBe("E_PROTOCOL");
    expect(everything()).toEqual(before);
  });

  test.each(BAD_NAMES)("is refused as the storage's in Begin: %p", async (storage) => {
    const code = await refusal(async (client) => {
      await welcomed(client);
      client.frame("begin", begin({ storage }));
    });
    expect(code).toBe("E_PROTOCOL");
  });

  test("is refused as the CN of a certificate, although our own CA issued it", async () => {
    const pair = await site.pki.addAgent("../web-2", validityAround(Date.now()), "odd-name");
    const client = await RawClient.connect(server.port, { caPath: site.pki.caPath, pair });
    client.frame("hello", hello({ agent: "../web-2" }));
    expect(await client.closedAfterMs()).toBeLessThan(5000);
    expect(client.messages().map(({ type }) => type)).not.toContain("welcome");
  });

  test("of words that objects have by themselves is a name like others, and no storage", async () => {
    for (const storage of ["constructor", "toString", "hasOwnProperty"]) {
      const code = await refusal(async (client) => {
        await welcomed(client);
        client.frame("begin", begin({ storage }));
      });
      expect(code).toBe("E_STORAGE_UNKNOWN");
    }
  });
});

describe("an agent", () => {
  test("is who its certificate says, whatever it calls itself", async () => {
    expect(await refusal((client) => client.frame("hello", hello({ agent: "web-2" })))).toBe("E_IDENTITY");
  });

  test("cannot take up a session of another agent, nor join it with a stream, nor learn that there is one", async () => {
    const owner = await RawClient.connect(server.port, tls());
    await welcomed(owner);
    owner.frame("begin", begin({ parallels: 2 }));
    const { session } = (await owner.message("admitted")).body;
    const strange = tls("web-2");
    const resume = hello({ agent: "web-2", session });
    const stream = hello({ agent: "web-2", role: "stream", session, slot: 0 });
    expect(await refusal((client) => client.frame("hello", resume), strange)).toBe("E_SESSION_GONE");
    expect(await refusal((client) => client.frame("hello", stream), strange)).toBe("E_SESSION_GONE");
    expect(owner.closed).toBe(false);
    owner.frame("disown", { code: "E_INTERRUPTED", message: "done" });
    await owner.message("ended");
    expect(leftoversIn(site.storage())).toEqual([]);
  });

  test("cannot make the server keep a frame that is too large", async () => {
    const before = server.memoryBytes("VmRSS");
    const code = await refusal((client) => client.send(frameHeader("hello", 0xffff_ffff, 0)));
    expect(code).toBe("E_FRAME_TOO_LARGE");
    expect(server.memoryBytes("VmRSS") - before).toBeLessThan(32 * MiB);
  });

  test("cannot send data before it has a session", async () => {
    expect(await refusal((client) => client.send(frameHeader("data", 1000, 0)))).toBe("E_PROTOCOL");
  });

  test("cannot place data outside its window, and its session then ends without left-overs", async () => {
    const client = await RawClient.connect(server.port, tls());
    await welcomed(client);
    client.frame("begin", begin());
    await client.message("admitted");
    const header = frameHeader("data", 1000, 0);
    const view = new DataView(header.buffer);
    view.setUint32(12, 7);
    view.setUint32(16, (await client.message("admitted")).body.slotGeneration);
    view.setUint32(24, 0x10_0000);
    client.send(header);
    await client.closedAfterMs();
    await server.printed(/session\.ended[^\n]*E_PROTOCOL/);
    expect(leftoversIn(site.storage())).toEqual([]);
  });
});

describe("after all of this the server", () => {
  test("has no archive, nothing unfinished, and nothing outside its storage", () => {
    expect(archivesIn(site.storage()).filter((file) => /\.(tar|idx)/.test(file))).toEqual([]);
    expect(leftoversIn(site.storage())).toEqual([]);
    const top = readdirSync(site.directory).filter((name) => !/\.yaml$/.test(name));
    expect(top.sort()).toEqual(["bin", "cwd", "pki", "state", "storage"]);
    expect(server.stderr).not.toMatch(/E_INTERNAL|AssertionError|"a handler failed"/);
  });
});

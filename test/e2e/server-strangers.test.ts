/**
 * Who has no business with the server: other protocols, other certificates, half-open connections. Each is closed within
 * the handshake deadline, costs bounded memory, and keeps nobody else from backing up.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { run } from "#scripts/lib/run.ts";
import { type DemoPair, type DemoPki, expiredBy, makeDemoPki } from "#test/support/pki.ts";
import { frameHeader, RawClient, type RawTls } from "#test/support/raw-client.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, AGENT, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);
/** Of the server, for the handshake and again for Hello; and what a busy machine may add. */
const DEADLINE_MS = 10_000;
const SLACK_MS = 2500;
const HALF_OPEN = 200;

let site: Site;
let server: ServerProcess;
let other: DemoPki;
let expired: DemoPair;

beforeAll(async () => {
  site = await Site.make();
  other = await makeDemoPki(site.at("other-pki"), { agents: [AGENT] });
  expired = await site.pki.addAgent(AGENT, expiredBy(Date.now()), "expired");
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(3_000_000));
  server = await site.startServer();
  // The first backup pays for what a server allocates once.
  await backUp();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

function backUp(): Promise<AgentEnd> {
  const backups = [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }], parallels: 4 }];
  return site.once({ port: server.port, backups, retry: { max_attempts: 1 } });
}

async function expectGoodBackup(): Promise<void> {
  const end = await backUp();
  expect({ exit: end.exitCode, result: end.reports[0]?.result, stderr: end.stderr }).toEqual({
    exit: 0,
    result: "committed",
    stderr: "",
  });
}

/** What `openssl s_client` says when it tries to connect and to say something. */
async function openssl(...args: string[]): Promise<string> {
  const target = `127.0.0.1:${server.port}`;
  const command = [
    "openssl",
    "s_client",
    "-connect",
    target,
    "-CAfile",
    site.pki.caPath,
    "-alpn",
    "nbackup/1",
    ...args,
  ];
  // Without an end of its input s_client waits for the server to close.
  const { stdout, stderr } = await run(["sh", "-c", 'exec "$@" </dev/zero', "sh", ...command], {
    timeoutMs: DEADLINE_MS,
  });
  return stdout + stderr;
}

const trusted = (pair?: DemoPair): RawTls => ({ caPath: site.pki.caPath, ...(pair === undefined ? {} : { pair }) });

describe("the server refuses at once", () => {
  test("TLS 1.2, with a good certificate", async () => {
    const { certPath, keyPath } = site.pki.agent(AGENT);
    const said = await openssl("-tls1_2", "-cert", certPath, "-key", keyPath);
    expect(said).toMatch(/alert protocol version|unsupported protocol|wrong version number/i);
    expect(said).not.toMatch(/Cipher is TLS|Cipher is ECDHE/);
  });

  test.each([
    ["TLS 1.3 without a certificate", (): undefined => undefined],
    ["a certificate of another CA", () => other.agent(AGENT)],
    ["a certificate that has expired", () => expired],
    ["the certificate of a server", () => site.pki.server],
  ] as const)("%s", async (_, pair) => {
    const client = await RawClient.connect(server.port, trusted(pair()));
    expect(await client.closedAfterMs()).toBeLessThan(3000);
    expect(client.messages()).toEqual([]);
  });

  test("a good certificate without the protocol's name", async () => {
    const client = await RawClient.connect(server.port, { ...trusted(site.pki.agent(AGENT)), protocol: "" });
    expect(await client.closedAfterMs()).toBeLessThan(3000);
  });

  test.each([
    ["plain HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: backup\r\n\r\n")],
    ["SSH", Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")],
    ["random bytes", crypto.getRandomValues(Buffer.alloc(65_536))],
  ] as const)("%s", async (_, bytes) => {
    const client = await RawClient.connect(server.port);
    client.send(bytes);
    // Random bytes may look like the header of a long record, which has the time of a handshake to arrive.
    expect(await client.closedAfterMs()).toBeLessThan(DEADLINE_MS + SLACK_MS);
  });

  test("frames that are none, after a good handshake, and says why", async () => {
    const client = await RawClient.connect(server.port, trusted(site.pki.agent(AGENT)));
    client.send(Buffer.from("GET / HTTP/1.1\r\nHost: backup\r\n\r\n"));
    const { body } = await client.message("refused");
    expect(body.code).toBe("E_PROTOCOL");
    expect(await client.closedAfterMs()).toBeLessThan(3000);
  });

  test("and after all of them serves a good agent as before", async () => {
    await expectGoodBackup();
  });
});

/** One byte each 100 ms, of something that never ends. */
function drip(client: RawClient, byteAt: (index: number) => number): () => void {
  let index = 0;
  const timer = setInterval(() => {
    client.send(Uint8Array.of(byteAt(index)));
    index += 1;
  }, 100);
  return () => clearInterval(timer);
}

/** The beginning of a TLS handshake record of 16 KiB, then nothing that makes sense. */
const CLIENT_HELLO = [0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc, 0x03, 0x03];

describe("connections that take their time", () => {
  test("are all closed within the deadline, cost bounded memory, and a good agent is served meanwhile", async () => {
    const before = server.memoryBytes("VmRSS");
    const silent = await Promise.all(Array.from({ length: HALF_OPEN }, () => RawClient.connect(server.port)));
    const dripping = await RawClient.connect(server.port);
    const good = trusted(site.pki.agent(AGENT));
    const wordless = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(server.port, good)));
    const slowHello = await RawClient.connect(server.port, good);
    // The header of a Hello, whose payload comes byte by byte: it says nothing wrong, and never an end.
    const header = frameHeader("hello", 512, 0);
    const stops = [drip(dripping, (index) => CLIENT_HELLO[index] ?? 0), drip(slowHello, (index) => header[index] ?? 0)];

    await expectGoodBackup();
    expect([...silent, dripping].filter((client) => client.closed)).toEqual([]);

    const all = [...silent, dripping, ...wordless, slowHello];
    const times = await Promise.all(all.map((client) => client.closedAfterMs()));
    for (const stop of stops) stop();
    expect(Math.max(...times)).toBeLessThan(DEADLINE_MS + SLACK_MS);
    expect(server.memoryBytes("VmRSS") - before).toBeLessThan(64 * MiB);
    await expectGoodBackup();
  });

  test("do not fill the log: what was refused is summed up", () => {
    const lines = server.stderr.split("\n").filter((line) => /refused before (it was one|they were one)/.test(line));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThan(20);
  });

  test("leave nothing in the storage", () => {
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(server.memoryBytes("VmHWM")).toBeLessThan(200 * MiB);
  });
});

/**
 * Connections that break all the time: one backup of 1 GB, all its connections cut fifty times, and what arrives is the
 * same byte for byte, without reading a source file twice.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { errnoName } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, leftoversIn, type OnceJson, Site, STORAGE } from "#test/support/site.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 150_000;
setDefaultTimeout(TIMEOUT_MS);
const CUTS = 50;
const FILES = 8;
const FILE_BYTES = 128 * MiB;
const SOURCE_BYTES = FILES * FILE_BYTES;

let site: Site;
let server: ServerProcess;
let undisturbed: OnceJson;

/** Half of it cannot be compressed, half of it is text. */
function makeSource(directory: string): void {
  mkdirSync(directory);
  const line = (i: number): string => `${i} ${Math.imul(i, 2_654_435_761) >>> 0} the quick brown fox jumps over\n`;
  const text = Buffer.from(Array.from({ length: 400_000 }, (_, i) => line(i)).join("")).subarray(0, 16 * MiB);
  for (let file = 0; file < FILES; file += 1) {
    const name = path.join(directory, `file-${file}`);
    for (let part = 0; part < FILE_BYTES / (16 * MiB); part += 1) {
      writeFileSync(name, file % 2 === 0 ? text : randomBytes(16 * MiB), { flag: "a" });
    }
  }
}

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

beforeAll(async () => {
  site = await Site.make();
  makeSource(site.at("source"));
  server = await site.startServer();
  const end = await site.once({ port: server.port, backups: [entry(4)] }, [], TIMEOUT_MS);
  const report = end.reports[0];
  if (report?.result !== "committed") throw new Error(end.stderr);
  undisturbed = report;
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const entry = (parallels: number): Record<string, unknown> => ({
  name: "gigabyte",
  storage: STORAGE,
  sources: [{ path: site.at("source") }],
  parallels,
});

/** What the process has read through file descriptors so far (sockets are not counted); looked at until it is gone. */
class ReadMeter {
  bytes = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(agent: WatchedProcess) {
    this.#timer = setInterval(() => this.#look(agent.pid), 20);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(pid: number): void {
    try {
      this.bytes = Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1] ?? this.bytes);
    } catch (error) {
      if (errnoName(error) !== "ENOENT" && errnoName(error) !== "ESRCH") throw error;
      this.stop();
    }
  }
}

describe.each([0, 4])("a backup of 1 GB with parallels %i whose connections are all cut fifty times", (parallels) => {
  let report: OnceJson;
  let readBytes = 0;
  let wireBytes = 0;
  let cutConnections = 0;

  test("is committed", async () => {
    const proxy = new FaultProxy({ targetPort: server.port });
    const config = await site.agentConfig({ port: proxy.port, backups: [entry(parallels)] });
    const agent = site.startAgent(config, ["--once", "--json"]);
    const meter = new ReadMeter(agent);
    for (let cut = 1; cut <= CUTS; cut += 1) {
      // Progress lies between two cuts: the last one comes when nearly all was sent.
      await Promise.race([proxy.reached((cut / (CUTS + 1)) * undisturbed.archiveBytes), agent.end(TIMEOUT_MS)]);
      cutConnections += proxy.cutAll();
    }
    const end = agentEnd(await agent.end(TIMEOUT_MS));
    meter.stop();
    proxy.stop();
    readBytes = meter.bytes;
    wireBytes = proxy.bytesUp;
    const only = end.reports[0];
    if (only === undefined) throw new Error(end.stderr);
    report = only;
    expect({ exit: end.exitCode, result: report.result }).toEqual({ exit: 0, result: "committed" });
    expect(cutConnections).toBeGreaterThanOrEqual(CUTS);
  });

  test("is the same byte for byte as an undisturbed one", async () => {
    expect(report.sha256).toBe(undisturbed.sha256);
    expect(report.entries).toBe(undisturbed.entries);
    await checkSum(path.join(site.storage(), report.archive ?? ""));
  });

  test("reports no less than what went over the wire again", () => {
    expect(report.resentBytes).toBeGreaterThan(0);
    // TLS, frames and heartbeats take less than a hundredth.
    expect(wireBytes).toBeGreaterThan(undisturbed.archiveBytes);
    expect(wireBytes).toBeLessThan(1.01 * (undisturbed.archiveBytes + report.resentBytes));
  });

  test("reads no source file twice", () => {
    expect(readBytes).toBeGreaterThanOrEqual(SOURCE_BYTES);
    expect(readBytes).toBeLessThan(1.02 * SOURCE_BYTES);
  });

  test("leaves nothing unfinished on the server", () => {
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(server.stderr).not.toMatch(/"level":"error"/);
  });
});

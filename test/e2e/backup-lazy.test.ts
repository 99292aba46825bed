/**
 * Lazy storages with the compiled programs: 10,000 chunks staged and assembled, GNU tar as the judge, and a server that is
 * killed while it assembles.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB } from "#base/units.ts";
import { freePort } from "#scripts/lib/background.ts";
import { checkSum, compareWithSource, memberCount } from "#test/support/gnu-tar.ts";
import { lookUntil } from "#test/support/look-until.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, leftoversIn, type OnceJson, Site } from "#test/support/site.ts";

const TIMEOUT_MS = 240_000;
setDefaultTimeout(TIMEOUT_MS);
/** Each longer than half a chunk, so that its headers and its data are chunks of their own. */
const FILES = 5000;
const FILE_BYTES = 33 * KiB;
const CHUNKS = 2 * FILES;
const STORAGES = {
  each: { compression_mode: "gzip", assembler_mode: "lazy", chunk_shard_levels: 2, chunk_fsync: true },
  whole: { compression_mode: "zst", assembler_mode: "lazy", chunk_shard_levels: 1, chunk_fsync: false },
};

let site: Site;
let server: ServerProcess;
const settings = { port: freePort(), storages: STORAGES };

beforeAll(async () => {
  site = await Site.make();
  for (let number = 0; number < FILES; number += 1) {
    const directory = site.at("source", `d${Math.floor(number / 500)}`);
    if (number % 500 === 0) mkdirSync(directory, { recursive: true });
    writeFileSync(path.join(directory, `f${number}`), crypto.getRandomValues(new Uint8Array(FILE_BYTES)));
  }
}, TIMEOUT_MS);
beforeEach(async () => {
  server = await site.startServer(settings);
});
afterEach(async () => {
  await server.stop();
});
afterAll(async () => {
  await site.remove();
});

function agentConfig(storage: keyof typeof STORAGES): Promise<string> {
  return site.agentConfig({
    port: settings.port,
    backups: [{ name: "many", storage, sources: [{ path: site.at("source") }], parallels: 4 }],
    resume: { chunk_size: "64kb", buffer_size: "64mb" },
  });
}

async function expectGood(storage: keyof typeof STORAGES, report: OnceJson | undefined): Promise<void> {
  expect(report?.result).toBe("committed");
  const archive = path.join(site.storage(storage), report?.archive ?? "");
  await checkSum(archive);
  await compareWithSource(archive);
  expect(await memberCount(archive)).toBe(FILES + FILES / 500 + 1);
  expect(leftoversIn(site.storage(storage))).toEqual([]);
  expect(server.output).not.toMatch(/"level":"error"/);
}

test("10,000 chunks, each synced by itself, become an archive that tar finds equal to its source", async () => {
  const agent = site.startAgent(await agentConfig("each"), ["--once", "--json"]);
  const end = agentEnd(await agent.end(TIMEOUT_MS));
  expect(end.exitCode).toBe(0);
  await expectGood("each", end.reports[0]);
  // However few processors there are: eight files were synced at a time.
  expect(fileThreadsOf(server.pid)).toBeGreaterThanOrEqual(6);
  expect(Number(server.events("session.committed")[0]?.["chunks"])).toBeGreaterThanOrEqual(CHUNKS);
});

test("so do 10,000 chunks synced together, when the server is killed while it assembles and is started again", async () => {
  const agent = site.startAgent(await agentConfig("whole"), ["--once", "--json"]);
  const [line] = await server.event("session.admitted");
  const session = /"session":"([0-9a-f-]{36})"/.exec(line)?.[1] ?? "";
  const directory = path.join(site.storage("whole"), ".nbackup", "sessions", session);
  // Nothing is written to the part before the assembly begins.
  const part = path.join(directory, "archive.part");
  await lookUntil(
    () => statSync(part).size > 0,
    () => "a part with something in it",
  );
  server.kill("SIGKILL");
  await server.end();
  expect(statSync(path.join(directory, "archive.part")).size).toBeGreaterThan(0);
  expect(readdirSync(path.join(directory, "chunks")).length).toBeGreaterThan(0);
  server = await site.startServer(settings);
  const end = agentEnd(await agent.end(TIMEOUT_MS));
  expect(end.exitCode).toBe(0);
  expect(end.reports[0]?.session).toBe(session);
  await expectGood("whole", end.reports[0]);
});

/** Threads that make file calls. */
function fileThreadsOf(pid: number): number {
  const names = readdirSync(`/proc/${pid}/task`).map((task) =>
    readFileSync(`/proc/${pid}/task/${task}/comm`, "latin1"),
  );
  return names.filter((name) => name.startsWith("Bun Pool")).length;
}

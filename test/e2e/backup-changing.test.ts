/** A tree that changes while it is read: the archive stays whole, and what is not as it should be is named. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { errnoName } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { checkSum, memberCount, restore } from "#test/support/gnu-tar.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, agentEnd, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);
const LARGE_BYTES = 8 * MiB;
const KEPT_BYTES = 6 * MiB;

let site: Site;
let server: ServerProcess;
let source = "";
let end: AgentEnd;
let restored = "";

const at = (name: string): string => path.join(source, name);

/** Which file of the source the agent has open now. */
function openFile(pid: number): string | undefined {
  for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
    try {
      const target = fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (target.startsWith(`${source}/`)) return path.basename(target);
    } catch (error) {
      // Closed since it was listed.
      if (errnoName(error) !== "ENOENT") throw error;
    }
  }
  return undefined;
}

async function reading(agent: WatchedProcess, name: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (openFile(agent.pid) !== name) {
    if (!agent.running) throw new Error(`the agent ended before it read ${name}: ${agent.stderr}`);
    if (performance.now() > deadlineMs) throw new Error(`the agent never read ${name}`);
    await Bun.sleep(5);
  }
}

beforeAll(async () => {
  site = await Site.make();
  source = site.at("source");
  fs.mkdirSync(source);
  const large = patternBytes(LARGE_BYTES);
  for (const name of ["1 first", "3 shrinks", "4 grows", "6 rewritten"]) fs.writeFileSync(at(name), large);
  for (const name of ["2 vanishes", "2 becomes a directory", "2 becomes a link", "7 last"]) {
    fs.writeFileSync(at(name), name);
  }
  fs.mkdirSync(at("2 vanishes with all"));
  fs.writeFileSync(at("2 vanishes with all/inside"), "inside");
  server = await site.startServer();

  const config = await site.agentConfig({
    port: server.port,
    backups: [{ name: "all", storage: STORAGE, sources: [{ path: source }], bandwidth_limit: "4mb", parallels: 2 }],
    // So small that the reader is never far ahead of the network, which is slow.
    resume: { buffer_size: "6mb", chunk_size: "64kb" },
    resources: { workers: 1 },
  });
  const agent = site.startAgent(config, ["--once", "--json"]);
  await reading(agent, "1 first");
  for (const name of ["2 vanishes", "2 becomes a directory", "2 becomes a link"]) fs.rmSync(at(name));
  fs.rmSync(at("2 vanishes with all"), { recursive: true });
  fs.mkdirSync(at("2 becomes a directory"));
  fs.symlinkSync("7 last", at("2 becomes a link"));
  await reading(agent, "3 shrinks");
  fs.truncateSync(at("3 shrinks"), KEPT_BYTES);
  await reading(agent, "4 grows");
  fs.appendFileSync(at("4 grows"), "and one more line\n");
  fs.writeFileSync(at("5 appears"), "new");
  await reading(agent, "6 rewritten");
  const fd = fs.openSync(at("6 rewritten"), "r+");
  fs.writeSync(fd, Buffer.from("changed"), 0, 7, LARGE_BYTES - 7);
  fs.closeSync(fd);
  end = agentEnd(await agent.end());
  restored = site.at("restored");
  await restore(archive(), restored);
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const archive = (): string => path.join(site.storage(), end.reports[0]?.archive ?? "");
const restoredFile = (name: string): string => path.join(restored, source, name);

describe("a tree that changes while it is backed up", () => {
  test("is committed with exit code 3", async () => {
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 3, result: "committed" });
    await checkSum(archive());
    expect(await memberCount(archive())).toBe(end.reports[0]?.entries ?? -1);
  });

  test("has each file that is not as it was announced reported by name and reason", () => {
    const skipped = end.reports[0]?.skipped ?? [];
    expect(skipped.map(({ path: name, reason }) => `${path.relative(source, name)}: ${reason}`).sort()).toEqual([
      "2 vanishes with all: vanished",
      "2 vanishes: vanished",
      "3 shrinks: shrank",
      "4 grows: grew",
    ]);
    for (const name of ["2 vanishes", "3 shrinks", "4 grows"]) expect(end.stderr).toContain(`${at(name)}: `);
  });

  test("has a file that shrank padded with zeros to its announced size", () => {
    const bytes = fs.readFileSync(restoredFile("3 shrinks"));
    expect(bytes.length).toBe(LARGE_BYTES);
    expect(bytes.subarray(0, KEPT_BYTES).equals(Buffer.from(patternBytes(LARGE_BYTES)).subarray(0, KEPT_BYTES))).toBe(
      true,
    );
    expect(bytes.subarray(KEPT_BYTES).every((byte) => byte === 0)).toBe(true);
  });

  test("has a file that grew cut at its announced size", () => {
    expect(fs.readFileSync(restoredFile("4 grows")).equals(Buffer.from(patternBytes(LARGE_BYTES)))).toBe(true);
  });

  test("has what became something else before it was reached as what it was then", () => {
    expect(fs.lstatSync(restoredFile("2 becomes a directory")).isDirectory()).toBe(true);
    expect(fs.readlinkSync(restoredFile("2 becomes a link"))).toBe("7 last");
  });

  test("has what came after as it was", () => {
    expect(fs.readFileSync(restoredFile("7 last"), "utf8")).toBe("7 last");
    expect(fs.readdirSync(path.join(restored, source)).sort()).toEqual([
      "1 first",
      "2 becomes a directory",
      "2 becomes a link",
      "3 shrinks",
      "4 grows",
      "6 rewritten",
      "7 last",
    ]);
  });
});

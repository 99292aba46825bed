/** What `--once` prints and how it ends: for programs, for people, on a pipe and on a terminal. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { mustRun } from "#scripts/lib/run.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, AGENT, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);
const FIELDS =
  "backup storage session result archive sha256 entries rawBytes archiveBytes resentBytes skipped sockets socketCount durationMs verify";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Escape sequences and carriage returns have no place outside a terminal. */
const TERMINAL_CODES = /[\r\u001b]/;

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  for (const name of ["etc", "home", "srv"]) {
    mkdirSync(site.at(name));
    for (let i = 0; i < 5; i += 1) writeFileSync(site.at(name, `file-${i}`), patternBytes(100_000 * (i + 1), i));
  }
  server = await site.startServer({ storages: { [STORAGE]: {}, second: { compression_mode: "zst" } } });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const entry = (name: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name,
  storage: STORAGE,
  sources: [{ path: site.at(name) }],
  ...more,
});

describe("--once --json", () => {
  test("prints one object per entry with the documented fields in their order and nothing on standard error", async () => {
    const end = await site.once({ port: server.port, backups: [entry("etc"), entry("home", { storage: "second" })] });
    expect({ exit: end.exitCode, stderr: end.stderr }).toEqual({ exit: 0, stderr: "" });
    expect(end.stdout.trimEnd().split("\n")).toHaveLength(2);
    expect(end.reports.map((report) => Object.keys(report).join(" "))).toEqual([FIELDS, FIELDS]);
    expect(end.reports.map(({ backup, storage }) => `${backup} ${storage}`)).toEqual(["etc main", "home second"]);
  });

  test("says what can be found on the server", async () => {
    const end = await site.once({ port: server.port, backups: [entry("srv")] });
    const report = end.reports[0];
    if (report === undefined) throw new Error(end.stderr);
    expect(report.archive).toMatch(/^web-1\/srv\/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z\.tar\.gz$/);
    expect(report.session).toMatch(UUID);
    const archive = path.join(site.storage(), report.archive ?? "");
    const sum = (await mustRun(["sha256sum", archive])).split(" ")[0];
    const rawBytes = Number(await mustRun(["sh", "-c", 'gzip -dc "$1" | wc -c', "sh", archive]));
    const { entries, skipped, resentBytes, result, sha256, archiveBytes } = report;
    expect({ entries, skipped, resentBytes, result, sha256, archiveBytes, rawBytes: report.rawBytes }).toEqual({
      entries: 6,
      skipped: [],
      resentBytes: 0,
      result: "committed",
      sha256: sum ?? "",
      archiveBytes: statSync(archive).size,
      rawBytes,
    });
    expect(Number.isInteger(report.durationMs) && report.durationMs > 0).toBe(true);
    expect(report.durationMs).toBeLessThanOrEqual(Math.ceil(end.durationMs));
  });

  test("says failed and null for what there is not, and goes on with the next entry", async () => {
    const wrong = entry("home", { sources: [{ path: site.at("not there") }] });
    const end = await site.once({ port: server.port, backups: [wrong, entry("etc")] });
    expect(end.exitCode).toBe(1);
    const [failed, done] = end.reports;
    expect(failed).toEqual({
      backup: "home",
      storage: STORAGE,
      session: null,
      result: "failed",
      archive: null,
      sha256: null,
      entries: 0,
      rawBytes: 0,
      archiveBytes: 0,
      resentBytes: 0,
      verify: "none",
      skipped: [],
      sockets: [],
      socketCount: 0,
      durationMs: failed?.durationMs ?? -1,
    });
    expect(done?.result).toBe("committed");
    expect(end.stderr).toMatch(/^E_SOURCE_MISSING: .*not there/m);
  });
});

describe("--once --backup NAME", () => {
  test("runs that entry and no other", async () => {
    const backups = [entry("etc"), entry("home"), entry("srv")];
    const end = await site.once({ port: server.port, backups }, ["--backup", "home"]);
    expect(end.exitCode).toBe(0);
    expect(end.reports.map(({ backup }) => backup)).toEqual(["home"]);
  });

  test("with a name that the file does not have exits with 2 and says which it has", async () => {
    const end = await site.once({ port: server.port, backups: [entry("etc")] }, ["--backup", "ect"]);
    expect(end.exitCode).toBe(2);
    expect(end.stderr).toMatch(/^E_USAGE: .*ect\nHINT: .*etc/);
  });
});

describe("rotation", () => {
  test("keeps the newest max_backups archives of the entry and their companions", async () => {
    const other = await site.startServer({
      storages: { few: { max_backups: 2 } },
      server: { state_dir: site.at("state-2") },
    });
    const kept: string[] = [];
    for (let i = 0; i < 4; i += 1) {
      const end = await site.once({ port: other.port, backups: [entry("etc", { storage: "few" })] });
      kept.push(end.reports[0]?.archive ?? "");
    }
    const archives = archivesIn(site.storage("few")).filter((file) => file.endsWith(".tar.gz"));
    expect(archives).toEqual(kept.slice(-2));
    expect(archivesIn(site.storage("few")).every((file) => kept.slice(-2).some((name) => sameRun(file, name)))).toBe(
      true,
    );
    await other.stop();
  });
});

/** Archive, index and checksum of one run have the time in common. */
function sameRun(file: string, archive: string): boolean {
  return file.split(".")[0] === archive.split(".")[0];
}

describe("--once for people", () => {
  test("says in a few lines what was done, and nothing on standard error", async () => {
    const config = await site.agentConfig({ port: server.port, backups: [entry("etc")] });
    const end = await site.startAgent(config, ["--once"]).end();
    expect({ exit: end.exitCode, stderr: end.stderr }).toEqual({ exit: 0, stderr: "" });
    expect(end.stdout).toMatch(/^etc → main: committed in /);
    expect(end.stdout).toMatch(/sha256 +[0-9a-f]{64}$/m);
  });

  test("interrupted by SIGINT ends with 130 and leaves nothing behind", async () => {
    const slow = entry("interrupted", { bandwidth_limit: "64kb", sources: [{ path: site.at("home") }] });
    const config = await site.agentConfig({ port: server.port, backups: [slow, entry("etc")] });
    const agent = site.startAgent(config, ["--once", "--json"]);
    await server.printed(/session\.admitted[^\n]*"backup":"interrupted"/);
    agent.kill("SIGINT");
    const end = agentEnd(await agent.end());
    expect(end.exitCode).toBe(130);
    expect(end.reports.map(({ backup, result }) => `${backup} ${result}`)).toEqual(["interrupted failed"]);
    await server.printed(/session\.ended[^\n]*"interrupted"[^\n]*E_DISOWNED/);
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(archivesIn(site.storage()).filter((file) => file.startsWith(`${AGENT}/interrupted/`))).toEqual([]);
  });
});

describe("--once --progress", () => {
  const slowly = (): Record<string, unknown> => entry("srv", { bandwidth_limit: "256kb" });

  test("on a pipe prints plain lines on standard error and the report on standard output", async () => {
    const config = await site.agentConfig({ port: server.port, backups: [slowly()] });
    const end = await site.startAgent(config, ["--once", "--progress"]).end();
    expect(end.exitCode).toBe(0);
    expect(end.stderr).not.toMatch(TERMINAL_CODES);
    const lines = end.stderr.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^connecting, /);
    expect(lines.some((line) => /^sending.*objects\/s, elapsed /.test(line))).toBe(true);
    expect(end.stdout).toMatch(/^srv → main: committed in /);
  });

  test("on a terminal redraws one line with a bar that fits it, and leaves it clean", async () => {
    const config = await site.agentConfig({ port: server.port, backups: [slowly()] });
    const command = `stty cols 100 rows 24; exec ${site.executables.agent} --config ${config} --once --progress`;
    const typed = site.at("typescript");
    rmSync(typed, { force: true });
    await mustRun(["script", "--quiet", "--return", "--command", command, typed], { cwd: site.at("cwd") });
    const screen = await Bun.file(typed).text();
    const drawn = screen.split("\r\u001b[K").slice(1);
    const bars = drawn.filter((line) => /^\[#*-*\]/.test(line));
    expect(bars.length).toBeGreaterThan(2);
    // A line as wide as the terminal would wrap, and the next redraw would leave half of it behind.
    const widths = drawn.slice(0, -1).map((line) => Bun.stringWidth(line.split("\r")[0] ?? ""));
    expect(Math.max(...widths)).toBeLessThan(100);
    expect(drawn.at(-1)).toMatch(/^srv → main: committed in /);
  });
});

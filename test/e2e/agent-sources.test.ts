/** The compiled agent and server when a source is not what it was at the last archive. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { mustRun } from "#scripts/lib/run.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { archivesIn, Site, STORAGE } from "#test/support/site.ts";
import { lacksRoot } from "#test/support/tree.ts";

const TEST_MS = 150_000;

let site: Site;
let server: ServerProcess;
let states = 0;

beforeAll(async () => {
  site = await Site.make();
  server = await site.startServer({ storages: { [STORAGE]: {}, one: { max_backups: 1 } } });
}, TEST_MS);

afterAll(() => site.remove());

function newStateDir(): string {
  states += 1;
  return site.at(`agent-state-${states}`);
}

function entry(name: string, keys: Record<string, unknown>): Record<string, unknown> {
  return { name, storage: STORAGE, ...keys };
}

function backupsOf(name: string, storage: string): string[] {
  return archivesIn(site.storage(storage)).filter((file) => file.includes(`/${name}/`) && file.endsWith(".tar.gz"));
}

describe("a source that is not what it was", () => {
  test(
    "keeps the server from removing the last archive, once, also with --once beside a state directory",
    async () => {
      const source = site.at("guarded");
      mkdirSync(source);
      writeFileSync(path.join(source, "file"), "content");
      const stateDir = newStateDir();
      mkdirSync(path.join(stateDir, "entries"), { recursive: true });
      const run = async (): Promise<string> => {
        const settings = {
          port: server.port,
          stateDir,
          backups: [entry("guarded", { storage: "one", sources: [{ path: source }] })],
        };
        const end = await site.once(settings);
        expect(end.reports[0]?.result).toBe("committed");
        return end.stderr;
      };
      expect(await run()).toBe("");
      rmSync(path.join(source, "file"));
      expect(await run()).toMatch(/"event":"source_changed","backup":"guarded".*became empty; no archive is removed/);
      await server.printed(/"event":"rotation.held"[^\n]*"backup":"guarded"/);
      expect(backupsOf("guarded", "one")).toHaveLength(2);
      expect(await run()).toBe("");
      expect(backupsOf("guarded", "one")).toHaveLength(1);
    },
    TEST_MS,
  );

  test.skipIf(lacksRoot())(
    "is known by its filesystem: a disk that is not mounted is told by where both lie",
    async () => {
      const source = await site.mountTmpfs("disk", "1m");
      writeFileSync(path.join(source, "file"), "content");
      const stateDir = newStateDir();
      mkdirSync(path.join(stateDir, "entries"), { recursive: true });
      const settings = { port: server.port, stateDir, backups: [entry("mounted", { sources: [{ path: source }] })] };
      for (let run = 0; run < 2; run += 1) expect((await site.once(settings)).stderr).toBe("");
      await mustRun(["umount", source]);
      writeFileSync(path.join(source, "other"), "what lay below the mount");
      const told = `source ${source} lies on another device: [^"]* mounted at [^"]*, before tmpfs \\(tmpfs\\) mounted at ${source}`;
      expect((await site.once(settings)).stderr).toMatch(new RegExp(told));
    },
    TEST_MS,
  );

  test(
    "says nothing without a state directory, and --once makes none",
    async () => {
      const settings = {
        port: server.port,
        stateDir: newStateDir(),
        backups: [entry("forgetful", { sources: [{ path: site.at("cwd") }] })],
      };
      expect((await site.once(settings)).exitCode).toBe(0);
      expect(existsSync(settings.stateDir)).toBe(false);
    },
    TEST_MS,
  );
});

test(
  "an agent that may not open enough files fails, and commits nothing of what it could read",
  async () => {
    const top = site.at("deep");
    const deep = path.join(top, ...Array.from({ length: 64 }, (_, i) => `d${i}`));
    mkdirSync(deep, { recursive: true });
    for (const directory of [top, deep]) writeFileSync(path.join(directory, "file"), "content");
    const backups = [entry("deep", { sources: [{ path: top }] })];
    const config = await site.agentConfig({ port: server.port, backups });
    // Each directory on the way down stays open, and the agent itself takes some.
    const within = (files: number): readonly string[] => ["sh", "-c", `ulimit -n ${files}; exec "$@"`, "sh"];
    const few = await site.startAgent(config, ["--once"], within(48)).end();
    expect({ exit: few.exitCode, archives: backupsOf("deep", STORAGE) }).toEqual({ exit: 1, archives: [] });
    expect(few.stderr).toContain("E_EXHAUSTED: this process may open no more files (open: EMFILE)");
    expect(few.stderr).toContain("HINT: Raise LimitNOFILE of the service");
    expect((await site.startAgent(config, ["--once"], within(1024)).end()).exitCode).toBe(0);
    expect(backupsOf("deep", STORAGE)).toHaveLength(1);
  },
  TEST_MS,
);

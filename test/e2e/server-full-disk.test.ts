/** A disk without a free byte, one that turns read-only, one that is unmounted: that storage's problem, told and mended. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { mustRun, run } from "#scripts/lib/run.ts";
import { expectRefusal } from "#test/support/refusal.ts";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, archivesIn, leftoversIn, Site } from "#test/support/site.ts";
import { lacksRoot } from "#test/support/tree.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let server: ServerProcess | undefined;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  for (let i = 0; i < 5; i += 1) {
    const bytes = new Uint8Array(MiB);
    for (let at = 0; at < MiB; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    writeFileSync(site.at("source/file"), bytes, { flag: "a" });
  }
}, TIMEOUT_MS);
afterEach(async () => {
  await server?.stop();
  server = undefined;
});
afterAll(async () => {
  await site.remove();
});

function once(port: number, storage: string): Promise<AgentEnd> {
  const backups = [{ name: "all", storage, sources: [{ path: site.at("source") }] }];
  return site.once({ port, backups, retry: { max_attempts: 1 } });
}

const freeBytes = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
};

/** Takes what is left, to the last byte. */
function fill(directory: string): void {
  for (const bytes of [MiB, 4096, 1]) {
    for (;;) {
      try {
        writeFileSync(`${directory}/filler`, new Uint8Array(bytes), { flag: "a" });
      } catch {
        break; // No room for that many.
      }
    }
  }
}

const archives = (storage: string): string[] => archivesIn(site.at(storage)).filter((file) => file.endsWith(".tar.gz"));

/** The command with what the file says at that moment. */
async function command(
  port: number,
  storages: Record<string, Record<string, unknown>>,
  ...args: string[]
): Promise<CommandEnd> {
  return await serverCommand(site, (await site.serverConfig({ port, storages })).file, args);
}

describe.skipIf(lacksRoot())("a storage whose disk has no free byte", () => {
  test("is served by a server that starts, is freed by prune, and takes the next backup without a restart", async () => {
    await site.mountTmpfs("full", "32m");
    const storages = (maxBackups: number): Record<string, Record<string, unknown>> => ({
      full: { base_dir: site.at("full"), max_backups: maxBackups, reserve: "1mb" },
    });
    server = await site.startServer({ storages: storages(9) });
    for (let i = 0; i < 4; i += 1) expect((await once(server.port, "full")).exitCode).toBe(0);
    await server.stop();
    fill(site.at("full"));
    expect(freeBytes(site.at("full"))).toBe(0);

    server = await site.startServer({ storages: storages(9) });
    const { port } = server;
    const status = await command(port, storages(9), "status", "--json");
    expect(status.objects).toMatchObject([
      { storages: [{ name: "full", state: "low", code: "E_FULL", freeBytes: 0 }] },
    ]);
    expectRefusal(await once(port, "full"), {
      exit: 1,
      code: "E_FULL",
      hint: /lower its max_backups and run "nbackup-server prune --storage full" on the server/,
    });
    expect(archives("full")).toHaveLength(4);

    const pruned = await command(port, storages(2), "prune", "--storage", "full");
    expect({ exit: pruned.exitCode, err: pruned.stderr }).toEqual({ exit: 0, err: "" });
    expect(pruned.stdout).toMatch(/2 archives, .* freed/);
    expect(archives("full")).toHaveLength(2);
    expect((await once(port, "full")).exitCode).toBe(0);
    expect(archives("full")).toHaveLength(3);
    expect(leftoversIn(site.at("full"))).toEqual([]);
    expect(server.events("storage.low")).toHaveLength(1);
  });

  test("is freed by prune without a server, which then starts and takes the next backup", async () => {
    const storages = { full: { base_dir: site.at("full"), max_backups: 1, reserve: "1mb" } };
    fill(site.at("full"));
    expect(freeBytes(site.at("full"))).toBe(0);
    const pruned = await command(1, storages, "prune");
    expect({ exit: pruned.exitCode, err: pruned.stderr }).toEqual({ exit: 0, err: "" });
    expect(archives("full")).toHaveLength(1);
    server = await site.startServer({ storages });
    expect((await once(server.port, "full")).exitCode).toBe(0);
  });

  test("and is that of the state directory costs records and nothing else", async () => {
    await site.mountTmpfs("tiny", "1m");
    server = await site.startServer({ server: { state_dir: site.at("tiny") } });
    fill(site.at("tiny"));
    expect((await once(server.port, "main")).exitCode).toBe(0);
    await server.printed(/records cannot be written/);
    expect((await server.stop()).exitCode).toBe(0);
    // Whoever starts it again finds a server, and commands reach it.
    server = await site.startServer({ server: { state_dir: site.at("tiny") } });
    expect((await once(server.port, "main")).exitCode).toBe(0);
    const { file } = await site.serverConfig({ port: server.port, server: { state_dir: site.at("tiny") } });
    const history = await serverCommand(site, file, ["history", "--json"]);
    expect(history.objects[0]).toMatchObject({ outcome: "committed" });
  });
});

describe.skipIf(lacksRoot())("a storage", () => {
  test("that was unmounted is failed in status, told once, left alone, and usable without a restart when it is back", async () => {
    for (const name of ["disk", "place"]) mkdirSync(site.at(name));
    const mount = (): Promise<string> => mustRun(["mount", "--bind", site.at("disk"), site.at("place")]);
    await mount();
    try {
      const storages = { moody: { base_dir: site.at("place") }, main: {} };
      server = await site.startServer({ storages });
      const { port } = server;
      expect((await once(port, "moody")).exitCode).toBe(0);
      await mustRun(["umount", "--lazy", site.at("place")]);
      for (let i = 0; i < 2; i += 1) {
        expectRefusal(await once(port, "moody"), { exit: 1, code: "E_STORAGE_FAILED" });
      }
      expect(readdirSync(site.at("place"))).toEqual([]);
      expect((await command(port, storages, "status")).stdout).toMatch(
        /moody\s+failed[\s\S]*moody: E_STORAGE_FAILED: /,
      );
      expect((await once(port, "main")).exitCode).toBe(0);
      await mount();
      expect((await once(port, "moody")).exitCode).toBe(0);
      await server.event("storage.recovered");
      expect(server.events("storage.failed")).toHaveLength(1);
      expect(archivesIn(site.at("disk")).filter((file) => file.endsWith(".tar.gz"))).toHaveLength(2);
    } finally {
      await server?.stop();
      await run(["umount", site.at("place")]);
    }
  });
});

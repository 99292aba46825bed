/** `port_rotation` with the real programs: connections come and go on purpose, and the archive is the same. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  const bytes = new Uint8Array(40 * MiB);
  for (let at = 0; at < bytes.length; at += 64 * KiB) crypto.getRandomValues(bytes.subarray(at, at + 64 * KiB));
  writeFileSync(site.at("source/file"), bytes);
  server = await site.startServer();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

test.each([0, 4])(
  "every connection is exchanged after four chunks, from another port, over %i streams",
  async (parallels) => {
    const entry = { name: `rotated-${parallels}`, storage: STORAGE, sources: [{ path: site.at("source") }], parallels };
    const port_rotation = { mode: "per-n-chunks", chunks_per_cycle: 4 };
    const settings = { port: server.port, backups: [{ ...entry, port_rotation }], logging: { level: "debug" } };
    const end = await site.once(settings, [], TIMEOUT_MS);
    const report = end.reports[0];
    expect(end.exitCode).toBe(0);
    expect(report).toMatchObject({ result: "committed", resentBytes: 0 });
    await checkSum(path.join(site.storage(), report?.archive ?? ""));
    const said = parallels === 0 ? "session connection rotated" : "stream rotated";
    const lines = end.stderr.split("\n").filter((line) => line.startsWith("{"));
    const rotated = lines.map((line): Record<string, unknown> => JSON.parse(line)).filter(({ msg }) => msg === said);
    expect(rotated.length).toBeGreaterThanOrEqual(4);
    for (const { port, portBefore } of rotated) expect(port).not.toBe(portBefore);
    expect(lines.filter((line) => line.includes('"level":"warn"') || line.includes('"level":"error"'))).toEqual([]);
  },
);

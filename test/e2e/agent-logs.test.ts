/** `logging` of the executables: a log of each session that failed, on both sides, and nothing secret in any of them. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { serverCommand } from "#test/support/server-command.ts";
import { AGENT, Site, STORAGE } from "#test/support/site.ts";

setDefaultTimeout(120_000);

const HOOK_SECRET = "hook-secret-5f1c";
const URL_SECRET = "url-secret-77aa";

let site: Site;
afterAll(() => site.remove());

test("a failed session leaves its log on both sides, a good one none, and no log of the whole run holds a secret", async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source", "file"), crypto.getRandomValues(new Uint8Array(65_536)));
  mkdirSync(site.at("large"));
  for (let part = 0; part < 20; part += 1) {
    writeFileSync(site.at("large", `part-${part}`), crypto.getRandomValues(new Uint8Array(65_536)));
  }
  const posts = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
  const [agentLogs, serverLogs] = [site.at("agent-sessions"), site.at("server-sessions")];
  const server = await site.startServer({ logging: { level: "debug", session_log_dir: serverLogs } });
  const entry = (name: string, source: string, keys = {}) => ({
    ...{ name, storage: STORAGE, sources: [{ path: site.at(source) }] },
    hooks: { before: `PASSWORD=${HOOK_SECRET} true` },
    notify: { url: `http://127.0.0.1:${posts.port}/ping/${URL_SECRET}` },
    ...keys,
  });
  const logging = { level: "debug", file: site.at("agent.log"), session_log_dir: agentLogs };
  const settings = { port: server.port, logging };
  const good = await site.once({ ...settings, backups: [entry("good", "source")] });
  expect(good.exitCode).toBe(0);
  expect(readdirSync(agentLogs)).toEqual([]);

  const slow = entry("slow", "large", { bandwidth_limit: "64kb" });
  const agent = site.startAgent(await site.agentConfig({ ...settings, backups: [slow] }), ["--once", "--json"]);
  const admitted = await server.printed(/"event":"session.admitted"[^\n]*"backup":"slow"[^\n]*/);
  const session = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(admitted[0])?.[0] ?? "";
  const { file } = await site.serverConfig({ port: server.port });
  expect((await serverCommand(site, file, ["abort", session])).exitCode).toBe(0);
  expect((await agent.end()).exitCode).toBe(1);
  server.kill("SIGTERM");
  await server.end();
  posts.stop(true);

  for (const [directory, words] of [
    [agentLogs, ["session admitted", "E_ABORTED"]],
    [serverLogs, ["session.admitted", "session.ended"]],
  ] as const) {
    const files = readdirSync(directory);
    expect(files).toHaveLength(1);
    expect(files[0]).toMatch(new RegExp(`_slow_[0-9TZ-]+_${session}\\.log$`));
    const text = readFileSync(`${directory}/${files[0]}`, "utf8");
    for (const word of words) expect(text).toContain(word);
    for (const line of text.trimEnd().split("\n")) expect(line).toContain(session);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  }

  const all = [server.output, readFileSync(site.at("agent.log"), "utf8"), good.stderr, agent.output];
  for (const directory of [agentLogs, serverLogs]) {
    for (const file of readdirSync(directory)) all.push(readFileSync(`${directory}/${file}`, "utf8"));
  }
  const keys = [site.pki.server, site.pki.agent(AGENT)].map(({ keyPath }) => readFileSync(keyPath, "utf8"));
  const keyLines = keys.flatMap((key) => key.split("\n").filter((line) => line.length > 20 && !line.startsWith("-")));
  expect(keyLines.length).toBeGreaterThan(2);
  for (const secret of [HOOK_SECRET, URL_SECRET, "PRIVATE KEY", ...keyLines]) {
    expect(all.some((text) => text.includes(secret))).toBe(false);
  }
  expect(existsSync(site.at("agent.log"))).toBe(true);
});

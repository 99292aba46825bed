/** The compiled agent as a service: schedules, signals, hooks, messages and status. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { AgentStatus } from "#observe/views.ts";
import { lookedLongAgo } from "#test/support/agent-state.ts";
import { DatagramSocket } from "#test/support/datagram-socket.ts";
import { lookUntil } from "#test/support/look-until.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const NEVER = "0 0 29 2 *";
const TEST_MS = 150_000;

let site: Site;
let server: ServerProcess;
let states = 0;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source", "file"), "content");
  mkdirSync(site.at("large"));
  writeFileSync(site.at("large", "file"), crypto.getRandomValues(new Uint8Array(64 * 1024)));
  for (let part = 0; part < 8; part += 1) {
    const bytes = Buffer.concat(Array.from({ length: 64 }, () => crypto.getRandomValues(new Uint8Array(65_536))));
    writeFileSync(site.at("large", `part-${part}`), bytes);
  }
  server = await site.startServer({ storages: { [STORAGE]: {}, one: { max_backups: 1 } } });
}, TEST_MS);

afterAll(() => site.remove());

type Yaml = Record<string, unknown>;

function newStateDir(): string {
  states += 1;
  return site.at(`agent-state-${states}`);
}

function entry(name: string, keys: Yaml = {}): Yaml {
  return { name, storage: STORAGE, sources: [{ path: site.at("source") }], ...keys };
}

const nightly = { schedule: "0 2 * * *", run_missed: true };

interface Started {
  readonly agent: WatchedProcess;
  readonly config: string;
  readonly stateDir: string;
}

async function start(backups: readonly Yaml[], more: Yaml = {}, env: Record<string, string> = {}): Promise<Started> {
  const stateDir = newStateDir();
  for (const { name, schedule, run_missed } of backups) {
    if (run_missed === true) lookedLongAgo(stateDir, String(name), String(schedule));
  }
  const config = await site.agentConfig({ port: server.port, backups, stateDir, ...more });
  const agent = site.startAgent(config, [], [], env);
  await agent.printed(/"msg":"started"/);
  return { agent, config, stateDir };
}

/** Rewrites the file that the daemon reads. */
async function rewrite(config: string, change: (text: string) => string): Promise<void> {
  await Bun.write(config, change(readFileSync(config, "utf8")));
}

async function statusOf(config: string): Promise<AgentStatus> {
  const end = await site.startAgent(config, ["status", "--json"]).end();
  expect({ exit: end.exitCode, stderr: end.stderr }).toEqual({ exit: 0, stderr: "" });
  return JSON.parse(end.stdout) as AgentStatus;
}

function backupsOf(name: string, storage = STORAGE): string[] {
  return archivesIn(site.storage(storage)).filter((file) => file.includes(`/${name}/`) && file.endsWith(".tar.gz"));
}

describe("the daemon", () => {
  test(
    "runs an entry at the minute that its schedule says, in the time zone of TZ",
    async () => {
      // The next whole minute that is at least three seconds away, as a wall clock in Kolkata shows it.
      const due = new Date(Math.ceil((Date.now() + 3000) / 60_000) * 60_000);
      const parts = new Intl.DateTimeFormat("en-GB", {
        timeZone: "Asia/Kolkata",
        hour: "numeric",
        minute: "numeric",
        hourCycle: "h23",
      });
      const [hour, minute] = parts.format(due).split(":").map(Number);
      const { agent, config } = await start(
        [entry("timely", { schedule: `${minute} ${hour} * * *` })],
        {},
        { TZ: "Asia/Kolkata" },
      );
      expect((await statusOf(config)).entries[0]).toMatchObject({
        backup: "timely",
        activity: "idle",
        nextWallMs: due.getTime(),
      });
      await agent.printed(/"event":"run.committed","backup":"timely"/, 90_000);
      expect(backupsOf("timely")).toHaveLength(1);
      const status = await statusOf(config);
      expect(status).toMatchObject({ agent: "web-1", zone: "Asia/Kolkata", stopping: false });
      const [timely] = status.entries;
      expect(timely?.last).toMatchObject({ result: "committed", trigger: "schedule", entries: 2 });
      const lateMs = (timely?.last?.startedWallMs ?? 0) - due.getTime();
      expect(lateMs).toBeGreaterThanOrEqual(0);
      expect(lateMs).toBeLessThan(10_000);
      const text = await site.startAgent(config, ["status"]).end();
      expect(text.stdout).toMatch(/^nbackup-agent \S+, process \d+, up /);
      expect(text.stdout).toMatch(
        new RegExp(`^timely +main +${minute} ${hour} \\* \\* \\* +\\d{4}-\\d\\d-\\d\\d .* committed .*$`, "m"),
      );
      expect((await agent.stop()).exitCode).toBe(0);
    },
    TEST_MS,
  );

  test(
    "makes up for what was missed, runs its hooks, and tells a URL of success and failure without naming it",
    async () => {
      const posts: string[] = [];
      const listener = Bun.serve({
        port: 0,
        fetch: async (request) => {
          posts.push(`${new URL(request.url).pathname} ${(await request.text()).split("\n")[0]}`);
          return new Response("OK");
        },
      });
      const url = `http://127.0.0.1:${listener.port}/ping/hunter2`;
      const facts = site.at("facts");
      const { agent, config } = await start([
        entry("hooked", {
          ...nightly,
          hooks: {
            before: "echo first line; touch ./nowhere/x || true",
            after: `env | grep ^NBACKUP_ | sort > ${facts}`,
          },
          notify: { url },
        }),
        entry("cancelled", {
          ...nightly,
          hooks: { before: "echo no room >&2; exit 4", on_failure: "echo cried" },
          notify: { url },
        }),
      ]);
      await agent.printed(/"event":"run.failed"/);
      await agent.printed(/"event":"run.committed"/);
      await agent.printed(/"backup":"cancelled","hook":"on_failure","msg":"cried"/);
      expect(agent.stderr).toContain('"backup":"hooked","hook":"before","msg":"first line"');
      expect(agent.stderr).toMatch(
        /"event":"run.failed",.*"code":"E_HOOK".*hooks.before of cancelled exited with 4: no room/,
      );
      expect(readFileSync(facts, "utf8")).toMatch(/^NBACKUP_ARCHIVE=web-1\/hooked\/.*\.tar\.gz$/m);
      expect(readFileSync(facts, "utf8")).toMatch(/^NBACKUP_RESULT=committed$/m);
      expect(readFileSync(facts, "utf8")).toMatch(/^NBACKUP_TRIGGER=missed$/m);
      const status = await statusOf(config);
      expect(status.entries.map(({ last }) => last?.code)).toEqual([null, "E_HOOK"]);
      const end = await agent.stop();
      expect(posts.sort().map((post) => post.replace(/\d+(\.\d+)?(ms|s)$/, "N"))).toEqual([
        "/ping/hunter2 hooked → main: committed in N",
        "/ping/hunter2/fail cancelled → main: failed after N",
      ]);
      expect(end.stderr).not.toContain("hunter2");
      expect(JSON.stringify(status)).not.toContain("hunter2");
      listener.stop(true);
    },
    TEST_MS,
  );

  test(
    "on SIGHUP reads its configuration again without touching a backup that runs, and an invalid one changes nothing",
    async () => {
      const socket = new DatagramSocket(site.at("notify"));
      const file = site.at("agent.log");
      const slow = entry("slow", { ...nightly, sources: [{ path: site.at("large") }], bandwidth_limit: "8mb" });
      const { agent, config } = await startLogging([slow, entry("other", { schedule: NEVER })], file, {
        NOTIFY_SOCKET: site.at("notify"),
      });
      await server.printed(/"event":"session.admitted"[^\n]*"backup":"slow"/);

      await rewrite(config, (text) => text.replace(NEVER, "61 * * * *"));
      agent.kill("SIGHUP");
      await logged(
        file,
        /the configuration is not used.*backups\[1\]\.schedule|"reason":".*backups\[1\]\.schedule: found/,
      );
      await logged(file, /nothing was changed/);
      expect((await statusOfReadable(config, (text) => text.replace("61 * * * *", NEVER))).reloadFailure?.code).toBe(
        "E_CONFIG",
      );

      await rewrite(config, (text) =>
        text
          .replace("61 * * * *", "0 12 * * *")
          .replace("level: info", "level: debug")
          .replace("format: json", "format: text"),
      );
      renameSync(file, `${file}.1`);
      agent.kill("SIGHUP");
      await logged(file, /were read again/);
      await logged(file, /"keys":\["logging.format"\]/);
      const status = await statusOf(config);
      expect(status.reloadFailure).toBeNull();
      expect(status.entries[1]?.schedule).toBe("0 12 * * *");
      expect(status.entries[0]).toMatchObject({ activity: "running", running: { trigger: "missed" } });

      await logged(file, /"event":"run.committed","backup":"slow"/);
      expect(backupsOf("slow")).toHaveLength(1);
      expect(await agent.stop()).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
      const states = socket.received().map((message) => message.split("\n")[0]?.replace(/STATUS=.*/, "STATUS"));
      const told = states.filter((state) => state !== "STATUS");
      expect(told).toEqual(["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
      socket.close();
    },
    TEST_MS,
  );

  test(
    "on SIGTERM gives up what runs, tidies up, and makes up for it at the next start",
    async () => {
      const tidied = site.at("tidied");
      const slow = entry("stopped", {
        ...nightly,
        ...{
          sources: [{ path: site.at("large") }],
          bandwidth_limit: "2mb",
          hooks: { after: `echo $NBACKUP_ERROR_CODE > ${tidied}` },
        },
      });
      const { agent, config } = await start([slow]);
      await server.printed(/"event":"session.admitted"[^\n]*"backup":"stopped"/);
      const startedAtMs = performance.now();
      const end = await agent.stop();
      expect(end.exitCode).toBe(0);
      expect(performance.now() - startedAtMs).toBeLessThan(15_000);
      expect(readFileSync(tidied, "utf8")).toBe("E_INTERRUPTED\n");
      await server.printed(/"event":"session.ended"[^\n]*"backup":"stopped"[^\n]*"code":"E_DISOWNED"/);
      expect(leftoversIn(site.storage())).toEqual([]);
      await rewrite(config, (text) => text.replace("bandwidth_limit: 2mb", "bandwidth_limit: 100mb"));
      const again = site.startAgent(config, []);
      await again.printed(/"event":"run.started","backup":"stopped",[^\n]*"trigger":"cut-off"/);
      await again.printed(/"event":"run.committed","backup":"stopped"/);
      await again.stop();
    },
    TEST_MS,
  );

  test(
    "that is killed leaves nothing that keeps the next one from starting; two at a time are not allowed",
    async () => {
      const { agent, config } = await start([entry("killed", { schedule: NEVER })]);
      const second = await site.startAgent(config, []).end();
      expect([second.exitCode, second.stderr]).toEqual([
        1,
        expect.stringMatching(/^E_LOCKED: .* is in use by another nbackup-agent\n/),
      ]);
      agent.kill("SIGKILL");
      await agent.end();
      const down = await site.startAgent(config, ["status"]).end();
      expect([down.exitCode, down.stderr]).toEqual([
        1,
        expect.stringMatching(/^E_NOT_RUNNING: no nbackup-agent answers at /),
      ]);
      const next = site.startAgent(config, []);
      await next.printed(/"msg":"started"/);
      expect((await statusOf(config)).entries).toHaveLength(1);
      await next.stop();
    },
    TEST_MS,
  );
});

/** A daemon whose log is a file. */
async function startLogging(backups: readonly Yaml[], file: string, env: Record<string, string>): Promise<Started> {
  const stateDir = newStateDir();
  lookedLongAgo(stateDir, "slow", "0 2 * * *");
  const config = await site.agentConfig({ port: server.port, backups, stateDir, logging: { level: "info", file } });
  const agent = site.startAgent(config, [], [], env);
  await logged(file, /"msg":"started"/);
  return { agent, config, stateDir };
}

/** `status` reads the file too: as `change` leaves it. */
async function statusOfReadable(config: string, change: (text: string) => string): Promise<AgentStatus> {
  const copy = `${config}.readable.yaml`;
  await Bun.write(copy, change(readFileSync(config, "utf8")));
  return await statusOf(copy);
}

/** Resolves when the file, which may be exchanged for another, has such a line. */
async function logged(file: string, pattern: RegExp): Promise<void> {
  const text = (): string => (existsSync(file) ? readFileSync(file, "utf8") : "");
  await lookUntil(
    () => pattern.test(text()),
    () => `${pattern} in ${file}, which ends with\n${text().split("\n").slice(-10).join("\n")}`,
  );
}

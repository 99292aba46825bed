/** The page's API of the compiled server: a real backup as it is shown, followed and downloaded, its metrics, and who is refused. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { freePort } from "#scripts/lib/background.ts";
import { inProject } from "#scripts/lib/project.ts";
import { run } from "#scripts/lib/run.ts";
import { docPage } from "#test/support/doc-pages.ts";
import { PageClient } from "#test/support/page-client.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { archivesIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { ArchivesAnswer, FindAnswer, TreeAnswer } from "#web/api-archives.ts";
import type {
  AccessAnswer,
  ActiveHistoryAnswer,
  AgentsAnswer,
  ConfigAnswer,
  EventsAnswer,
  HealthAnswer,
  HistoryAnswer,
  MetricsAnswer,
  OverviewAnswer,
  SessionDetail,
  SessionsAnswer,
} from "#web/api-types.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

const PASSWORD = "correct horse battery";
const HOSTILE = '<img src=x onerror="alert(1)">';
const BACKUP = { name: "all", storage: STORAGE };

let site: Site;
let pagePort: number;

beforeEach(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(3_000_000));
  writeFileSync(site.at("source", HOSTILE), "its content");
  pagePort = freePort();
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

function webUi(keys: Record<string, unknown> = {}): Record<string, unknown> {
  return { enabled: true, listen: `127.0.0.1:${pagePort}`, allow_origins: ["127.0.0.1"], ...keys };
}

/** With a password file that the program has made itself. */
async function withPassword(keys: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const file = site.at("password");
  const command = [site.executables.server, "web-password", "--output", file];
  const made = Bun.spawn(command, { stdin: new Blob([`${PASSWORD}\n`]), stdout: "pipe", stderr: "pipe" });
  expect(await made.exited).toBe(0);
  expect(readFileSync(file, "utf8")).toStartWith("$argon2id$");
  return webUi({ password_file: file, ...keys });
}

const backups = (keys: Record<string, unknown> = {}): Record<string, unknown>[] => [
  { ...BACKUP, sources: [{ path: site.at("source") }], ...keys },
];

async function backUp(server: ServerProcess, keys: Record<string, unknown> = {}): Promise<void> {
  const end = await site.once({ port: server.port, backups: backups(keys) });
  expect({ exit: end.exitCode, stderr: end.exitCode === 0 ? "" : end.stderr }).toEqual({ exit: 0, stderr: "" });
}

describe("a backup", () => {
  test("is followed while it runs, and is in history, archives, agents, overview and metrics afterwards", async () => {
    const server = await site.startServer({ webUi: webUi() });
    const page = new PageClient(pagePort);
    const opened = Promise.withResolvers<void>();
    const ended = page.streamUntil("/api/v1/stream", ({ type }) => type === "ended", opened.resolve);
    await opened.promise;
    const agent = site.startAgent(
      await site.agentConfig({ port: server.port, backups: backups({ bandwidth_limit: "512kb", parallels: 2 }) }),
      ["--once", "--json"],
    );
    await server.event("session.admitted");
    const { running } = await page.json<SessionsAnswer>("/api/v1/sessions");
    expect(running).toMatchObject([
      { agent: "web-1", backup: "all", storage: STORAGE, phase: "receiving", slotCount: 2 },
    ]);
    const id = running[0]?.session ?? "";
    const update = await page.streamUntil(`/api/v1/stream?session=${id}`, ({ type }) => type === "session");
    expect(update.map(({ type }) => type)).toContain("tick");
    expect(update.at(-1)?.data["slots"]).toHaveLength(2);
    expect((await agent.end()).exitCode).toBe(0);
    const seen = await ended;
    expect(seen.map(({ type }) => type).slice(0, 1)).toEqual(["hello"]);
    expect(seen.at(-1)?.data).toMatchObject({ session: id, outcome: "committed" });
    expect(seen.filter(({ type }) => type === "tick").length).toBeGreaterThan(0);
    const history = await page.json<HistoryAnswer>("/api/v1/sessions/history?agent=web-1&outcome=committed");
    expect(history).toMatchObject({ total: 1, next: null, rows: [{ session: id, agent: "web-1", backup: "all" }] });
    const detail = await page.json<SessionDetail>(`/api/v1/sessions/${id}`);
    expect(detail).toMatchObject({ session: id, live: null, record: { outcome: "committed" }, storage: STORAGE });
    expect(detail.phases.map(({ phase }) => phase)).toEqual(
      expect.arrayContaining(["receiving", "hashing", "committing", "rotating"]),
    );
    expect(detail.phases.every(({ endWallMs }) => endWallMs !== null)).toBe(true);
    expect(detail.series.length).toBeGreaterThan(1);
    expect(detail.events.map(({ kind }) => kind)).toContain("session.committed");
    const name = archivesIn(site.storage())
      .find((file) => file.endsWith(".tar.gz"))
      ?.split("/")
      .at(-1);
    expect(detail.archive?.name).toBe(name ?? "");
    const archives = await page.json<ArchivesAnswer>("/api/v1/archives?agent=web-1");
    expect(archives.rows).toMatchObject([{ name, agent: "web-1", backup: "all", hasIndex: true, damage: null }]);
    expect(archives.backups).toMatchObject([
      { state: "ok", archiveCount: 1, lastOutcome: "committed", lastWarnings: 0 },
    ]);
    const agents = await page.json<AgentsAnswer>("/api/v1/agents");
    expect(agents.rows).toMatchObject([{ agent: "web-1", state: "ok", channel: null, archiveCount: 1 }]);
    const overview = await page.json<OverviewAnswer>("/api/v1/overview");
    expect(overview.counts).toEqual({ ok: 1, late: 0, failing: 0, never: 0, unknown: 0 });
    expect(overview.storages).toMatchObject([{ name: STORAGE, state: "ok" }]);
    expect(overview.certificates.map((one) => one.name)).toEqual(["server", "ca"]);
    const events = await page.json<EventsAnswer>("/api/v1/events?kind=session.&limit=500");
    expect(new Set(events.rows.map(({ kind }) => kind))).toContain("session.committed");
    expect(await page.json<HealthAnswer>("/api/v1/health")).toMatchObject({ state: "READY", reasons: [] });
    const metrics = await page.json<MetricsAnswer>("/api/v1/metrics");
    expect(metrics.metrics.length).toBeGreaterThan(30);
    await checkMetrics(page);
    const config = await page.json<ConfigAnswer>("/api/v1/config/effective");
    const row = (key: string): unknown => config.rows.find((one) => one.key === key);
    expect(row("web_ui.listen")).toMatchObject({ value: `127.0.0.1:${pagePort}`, isDefault: false });
    expect(row("server.max_sessions")).toMatchObject({ value: "32", isDefault: true });
    expect(row(`storages.${STORAGE}.max_backups`)).toMatchObject({ value: 50, isDefault: false });
    expect(row("server.state_dir")).toMatchObject({ value: site.at("state") });
    expect((await page.get("/")).headers.get("content-type")).toStartWith("text/html");
    expect(await (await page.get("/nothing")).json()).toMatchObject({ error: { code: "not-found" } });
  });

  test("that fails is failing in the overview, and its metrics say that it never succeeded", async () => {
    const server = await site.startServer({ webUi: webUi(), storages: { [STORAGE]: { allow_agents: ["nobody"] } } });
    const page = new PageClient(pagePort);
    const end = await site.once({ port: server.port, backups: backups() });
    expect(end.exitCode).toBe(1);
    const overview = await page.json<OverviewAnswer>("/api/v1/overview");
    expect(overview.counts.failing).toBe(1);
    expect(overview.backups[0]?.reason).toContain("E_STORAGE_DENIED");
    expect(overview.events[0]?.level).toBe("warn");
    // Whether there is an archive of it nobody knows before.
    while ((await page.json<OverviewAnswer>("/api/v1/overview")).scanning) await Bun.sleep(50);
    const text = await (await page.get("/metrics")).text();
    const labels = `{agent="web-1",backup="all",storage="${STORAGE}"}`;
    expect(text).toContain(`nbackup_last_success_timestamp_seconds${labels} 0\n`);
    expect(text).toContain('nbackup_sessions_ended_total{outcome="refused"} 1\n');
  });

  test("is remembered after a restart, with the points of its session", async () => {
    const settings = { webUi: webUi({ active_snapshot_interval: "1s" }) };
    const first = await site.startServer(settings);
    await backUp(first, { bandwidth_limit: "768kb" });
    first.kill("SIGTERM");
    expect((await first.end()).exitCode).toBe(0);
    writeFileSync(site.at("state/active-sessions.jsonl"), '{"torn":', { flag: "a" });
    const second = await site.startServer({ ...settings, port: first.port });
    const page = new PageClient(pagePort);
    const history = await page.json<HistoryAnswer>("/api/v1/sessions/history");
    const id = history.rows[0]?.session ?? "";
    const detail = await page.json<SessionDetail>(`/api/v1/sessions/${id}`);
    expect(detail.series.length).toBeGreaterThan(0);
    expect(detail.phases.map(({ phase }) => phase)).toContain("committing");
    const snapshots = await page.json<ActiveHistoryAnswer>(`/api/v1/sessions/active-history?session=${id}&limit=1`);
    expect(snapshots.rows).toMatchObject([{ session: id, state: "ended" }]);
    expect(snapshots.total).toBeGreaterThan(1);
    expect(second.output).toMatch(/active-sessions\.jsonl","tornBytes":8,.*records cannot be read and were dropped/);
  });
});

describe("scripts", () => {
  test("of the manual with curl and jq list what is not fine, and every row of every page of a list", async () => {
    const server = await site.startServer({ webUi: webUi(), storages: { [STORAGE]: { allow_agents: ["nobody"] } } });
    for (const name of ["one", "two", "three"]) {
      await site.once({ port: server.port, backups: backups({ name }) });
    }
    const scripts = docPage("docs/web-api.md").blocks.filter(({ kind }) => kind === "sh");
    expect(scripts).toHaveLength(2);
    const [listed, paged] = await Promise.all(
      scripts.map(({ lines }) =>
        // A row a page, so that there are pages.
        run([
          "sh",
          "-ec",
          lines.join("\n").replace("127.0.0.1:9848", `127.0.0.1:${pagePort}`).replace("limit=500", "limit=1"),
        ]),
      ),
    );
    expect(listed).toMatchObject({ exitCode: 0, stderr: "" });
    expect(listed?.stdout.trim().split("\n").toSorted()).toEqual(
      ["one", "three", "two"].map((name) =>
        expect.stringMatching(new RegExp(`^failing web-1/${name}: .*E_STORAGE_DENIED`)),
      ),
    );
    expect(paged).toMatchObject({ exitCode: 0, stderr: "" });
    const rows = (paged?.stdout.trim().split("\n") ?? []).map((line) => line.split("\t"));
    expect(rows.map(([, backup]) => backup)).toEqual(["three", "two", "one"]);
  });
});

async function checkMetrics(page: PageClient): Promise<void> {
  const response = await page.get("/metrics");
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  const text = await response.text();
  expect(text).toMatch(/^nbackup_bytes_received_total [1-9]/m);
  expect(text).toMatch(/^nbackup_session_seconds_count\{outcome="committed"\} 1$/m);
  expect(text).toMatch(/^nbackup_last_success_timestamp_seconds\{agent="web-1",backup="all",storage="main"\} 1\d{9}/m);
  expect(text).toMatch(/^nbackup_last_warnings\{agent="web-1",backup="all",storage="main"\} 0$/m);
  expect(text).toMatch(/^nbackup_certificate_end_timestamp_seconds\{certificate="server"\} \d{10}$/m);
  const file = site.at("metrics.txt");
  writeFileSync(file, text);
  const checked = await run(["sh", "-c", `promtool check metrics < "${file}"`]);
  expect({ exit: checked.exitCode, says: `${checked.stdout}${checked.stderr}` }).toEqual({ exit: 0, says: "" });
  await checkDashboard(text);
}

/** Every metric that the dashboard asks for is one that this server gives, by the name that it gives. */
async function checkDashboard(text: string): Promise<void> {
  const given = new Set([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`));
  const dashboard = await Bun.file(inProject("docs/grafana-dashboard.json")).text();
  const asked = new Set([...dashboard.matchAll(/\b(?:nbackup|process)_[a-z_]+/g)].map(([name]) => name));
  expect(asked.size).toBeGreaterThan(15);
  const isGiven = (name: string): boolean =>
    ["gauge", "counter"].some((type) => given.has(`${name} ${type}`)) ||
    given.has(`${name.replace(/_(?:bucket|sum|count)$/, "")} histogram`);
  expect([...asked].filter((name) => !isGiven(name))).toEqual([]);
}

describe("archives", () => {
  test("are browsed, searched and downloaded by who has given the password, and every download is told", async () => {
    const server = await site.startServer({ webUi: await withPassword({ allow_download: true }) });
    const page = new PageClient(pagePort);
    await backUp(server);
    for (const path of [
      "/api/v1/overview",
      "/api/v1/archives",
      "/api/v1/stream",
      "/metrics",
      "/api/v1/archives/tree",
    ]) {
      expect({ path, status: (await page.get(path)).status }).toEqual({ path, status: 401 });
    }
    expect(await page.json<AccessAnswer>("/api/v1/access")).toMatchObject({ passwordNeeded: true, loggedIn: false });
    const login = await page.login(PASSWORD);
    expect(login.status).toBe(204);
    expect(login.headers.get("set-cookie")).toMatch(/^nbackup_login=\S{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    expect(await page.json<AccessAnswer>("/api/v1/access")).toMatchObject({ loggedIn: true, download: true });
    const { rows } = await page.json<ArchivesAnswer>("/api/v1/archives");
    const place = new URLSearchParams({
      storage: STORAGE,
      agent: "web-1",
      backup: "all",
      archive: rows[0]?.name ?? "",
    });
    let directory = await page.json<TreeAnswer>(`/api/v1/archives/tree?${place}`);
    while (directory.rows.length === 1 && directory.rows[0]?.type === "directory") {
      directory = await page.json<TreeAnswer>(`/api/v1/archives/tree?${place}&key=${directory.rows[0].key}`);
    }
    expect(directory.rows.map(({ name, type, bytes }) => [name, type, bytes])).toEqual([
      [HOSTILE, "file", 11],
      ["file", "file", 3_000_000],
    ]);
    const one = await page.json<TreeAnswer>(`/api/v1/archives/tree?${place}&key=${directory.key}&limit=1`);
    const rest = await page.json<TreeAnswer>(`/api/v1/archives/tree?${place}&key=${directory.key}&after=${one.next}`);
    expect([one.rows.length, rest.rows.map(({ name }) => name)]).toEqual([1, ["file"]]);
    const found = await page.json<FindAnswer>("/api/v1/archives/find?agent=web-1&backup=all&pattern=fil*");
    expect(found).toMatchObject({
      ...{ next: null, total: null, archiveCount: 1, failures: [] },
      rows: [{ versions: [{ archiveCount: 1 }] }],
    });
    const all = "/api/v1/archives/find?agent=web-1&backup=all&pattern=*&limit=1";
    const paths: (string | undefined)[] = [];
    for (let after: string | null = ""; after !== null;) {
      const part: FindAnswer = await page.json<FindAnswer>(`${all}&after=${after}`);
      paths.push(...part.rows.map(({ path }) => path));
      after = part.next;
    }
    expect(paths.filter((path) => path?.startsWith(site.at("source/").slice(1)))).toHaveLength(2);
    expect(new Set(paths).size).toBe(paths.length);
    const big = await page.get(`/api/v1/archives/file?${place}&key=${found.rows[0]?.key}`);
    expect(big.status).toBe(200);
    expect(Buffer.from(await big.arrayBuffer()).equals(readFileSync(site.at("source/file")))).toBe(true);
    const small = await page.get(`/api/v1/archives/file?${place}&key=${directory.rows[0]?.key}`);
    expect(await small.text()).toBe("its content");
    expect(Object.fromEntries(small.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": expect.stringMatching(
        /^attachment; filename="_img_src_x_onerror__alert_1___"; filename\*=UTF-8''%3Cimg/,
      ),
      "content-security-policy": "sandbox; default-src 'none'",
      "x-content-type-options": "nosniff",
    });
    const events = await page.json<EventsAnswer>("/api/v1/events?kind=archive.downloaded");
    expect(events.rows.map(({ fields }) => [fields["address"], String(fields["path"]).split("/").at(-1)])).toEqual([
      ["127.0.0.1", HOSTILE],
      ["127.0.0.1", "file"],
    ]);
    const gone = await page.get(`/api/v1/archives/file?${place}&key=bm90aGluZw`);
    expect([gone.status, await gone.json()]).toMatchObject([404, { error: { code: "E_PATH_UNKNOWN" } }]);
    const basic = { authorization: `Basic ${btoa(`prometheus:${PASSWORD}`)}` };
    expect((await new PageClient(pagePort).get("/metrics", basic)).status).toBe(200);
    // Nothing of it is left open: a second download needs the same descriptors and threads.
    const again = await page.get(`/api/v1/archives/file?${place}&key=${found.rows[0]?.key}`);
    await again.body?.cancel();
    expect((await (await page.get(`/api/v1/archives/file?${place}&key=${directory.rows[0]?.key}`)).text()).length).toBe(
      11,
    );
  });

  test("are not browsed without a password, nor without allow_download", async () => {
    const server = await site.startServer({ webUi: webUi() });
    await backUp(server);
    const page = new PageClient(pagePort);
    const { rows } = await page.json<ArchivesAnswer>("/api/v1/archives");
    const place = new URLSearchParams({
      storage: STORAGE,
      agent: "web-1",
      backup: "all",
      archive: rows[0]?.name ?? "",
    });
    for (const what of ["tree", "file", "find"]) {
      const response = await page.get(`/api/v1/archives/${what}?${place}&key=eA`.replace(/^(.*find).*/, "$1"));
      expect([what, response.status]).toEqual([what, 403]);
    }
  });
});

describe("the page", () => {
  test("refuses addresses that allow_origins does not name before anything else, and says so once", async () => {
    const server = await site.startServer({ webUi: webUi({ allow_origins: ["192.0.2.0/24"] }) });
    const page = new PageClient(pagePort);
    for (const path of ["/", "/metrics", "/api/v1/health", "/api/v1/login"]) {
      expect((await page.get(path, { "x-forwarded-for": "192.0.2.1" })).status).toBe(403);
    }
    await server.event("page.refused");
    expect(server.events("page.refused")).toHaveLength(1);
  });

  test("answers over TLS by a certificate of its own, with a cookie for TLS alone, and slows down who guesses", async () => {
    const { certPath, keyPath } = site.pki.server;
    await site.startServer({ webUi: await withPassword({ tls_cert: certPath, tls_key: keyPath }) });
    const page = new PageClient(pagePort, "https");
    expect((await page.get("/api/v1/health")).status).toBe(200);
    const statuses: number[] = [];
    for (let i = 0; i < 7; i += 1) statuses.push((await page.login(`wrong ${i}`)).status);
    expect(statuses.slice(0, 5)).toEqual([401, 401, 401, 401, 401]);
    expect(statuses.at(-1)).toBe(429);
    expect((await page.login(PASSWORD)).status).toBe(429);
  });

  test("whose port is taken is told, and backups go on", async () => {
    const blocker = Bun.listen({ hostname: "127.0.0.1", port: pagePort, socket: { data: () => undefined } });
    try {
      const server = await site.startServer({ webUi: webUi() });
      await server.event("page.failed");
      await backUp(server);
      expect(server.events("page.failed")).toMatchObject([{ code: "E_WEB", level: "error" }]);
    } finally {
      blocker.stop(true);
    }
  });
});

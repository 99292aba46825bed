/**
 * A server of the page for tests: the real files with the real headers of access.ts, answers from page-fixtures.ts, and a live stream that
 * says what the test says. Stopped and started again on the same port it is a server that was restarted.
 */
import { gzipSync } from "node:zlib";
import { backupSummary } from "#web/backup-summary.ts";
import type {
  AccessAnswer,
  AgentsAnswer,
  ApiEnd,
  ApiEvent,
  OverviewAnswer,
  RecordPage,
  ServerNumbers,
  SessionsAnswer,
  StreamMessage,
} from "#web/api-types.ts";
import type { ArchivesAnswer, FindAnswer, StoragesAnswer, TreeAnswer } from "#web/api-archives.ts";
import { loadPage, type PageFiles } from "#bin/web-page.ts";
import { pagePolicy, secured } from "#web/access.ts";
import { chosenBy, withFirstView } from "#web/first-view.ts";
import { END_NAMES, endTest, EVENT_NAMES, eventTest, exactNames } from "#web/matches.ts";
import { textsOf } from "#web/paging.ts";
import * as make from "#test/support/page-fixtures.ts";
import * as made from "#test/support/page-session-fixtures.ts";

export interface PageWorld {
  readonly backups: number;
  readonly agents: number;
  readonly history: number;
  readonly running: number;
  readonly slots: number;
  /** Two unless told. */
  readonly storages?: readonly string[];
  /** Undefined: no login is asked for. */
  readonly password?: string;
  readonly download?: boolean;
  /** Paths that answer with an error of the server. */
  readonly failing?: readonly string[];
  /** Paths that never answer. */
  readonly silent?: readonly string[];
  /** `none`: the page asks for everything. `stale`: something has happened since it came. */
  readonly first?: "none" | "stale";
}

export const FULL: PageWorld = { backups: 18, agents: 14, history: 400, running: 6, slots: 12, download: true };
export const NOTHING: PageWorld = { backups: 0, agents: 0, history: 0, running: 0, slots: 0 };

const STORAGES = ["main", "archive"];
const REVISION = 7;

const WAITING = [
  { agent: "build-02", backup: "www", storage: "main", remote: "192.0.2.31:50114", position: 1 },
  { agent: make.HOSTILE, backup: "etc", storage: "main", remote: "192.0.2.32:50115", position: 2 },
];

export class PageServer {
  readonly #files: PageFiles;
  readonly nowWallMs = Date.now();
  #world: PageWorld;
  #http: ReturnType<typeof Bun.serve> | undefined;
  #port = 0;
  #boot = 0;
  #turn = 0;
  #loggedIn = false;
  #isFromElsewhere = false;
  readonly #streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly requests: string[] = [];
  readonly #waiting = new Map<string, () => void>();

  private constructor(files: PageFiles, world: PageWorld) {
    this.#files = files;
    this.#world = world;
  }

  static async start(world: PageWorld = FULL): Promise<PageServer> {
    const server = new PageServer(await loadPage(), world);
    server.restart();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  set world(world: PageWorld) {
    this.#world = world;
    this.#loggedIn = false;
    this.#isFromElsewhere = false;
  }

  /** The next pages are asked for by links of another site: without the cookie of a login. */
  comesFromElsewhere(): void {
    this.#isFromElsewhere = true;
  }

  restart(): void {
    this.#boot += 1;
    this.#http = Bun.serve({
      hostname: "127.0.0.1",
      port: this.#port,
      idleTimeout: 0,
      fetch: async (request) => await this.#answer(request),
    });
    this.#port = this.#http.port ?? 0;
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
    await this.#http?.stop(true);
  }

  /** Resolves when this was asked for since `requests` was emptied. */
  async asked(path: string): Promise<void> {
    if (this.requests.includes(path)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(path, resolve);
    await promise;
  }

  /** To every open page. */
  push(message: StreamMessage): void {
    const bytes = new TextEncoder().encode(`event: ${message.type}\ndata: ${JSON.stringify(message.data)}\n\n`);
    for (const stream of this.#streams) stream.enqueue(bytes);
  }

  /** A second goes by; of the session `watched` all is told. */
  tick(watched?: number): void {
    this.#turn += 1;
    this.push(this.#tick());
    if (watched === undefined) return;
    const slots = Array.from({ length: this.#world.slots }, (_, slot) => made.slotRow(slot, this.#turn));
    const point = made.seriesPoint(300 + this.#turn, this.nowWallMs + this.#turn * 1000);
    const { autoscaler, phases } = made.sessionDetail(watched, this.nowWallMs, this.#world.slots);
    this.push({ type: "session", data: { session: make.uuid(watched), slots, autoscaler, phases, point } });
  }

  #numbers(): ServerNumbers {
    const { running } = this.#world;
    return {
      ...{ uptimeMs: 9 * make.DAY_MS, stopping: false, sessionCount: running, sessionsMax: 32 },
      ...{ waitingCount: running === 0 ? 0 : WAITING.length, connectionCount: 70 },
      ...{ memoryBytes: running * 41 * 1024 ** 2, memoryBytesMax: 2 * make.GB },
      receivedRate: running === 0 ? 0 : Math.round((150 + 60 * make.noise(this.#turn)) * 1024 ** 2),
      writtenRate: running === 0 ? 0 : Math.round((140 + 60 * make.noise(this.#turn)) * 1024 ** 2),
    };
  }

  #live() {
    return Array.from({ length: this.#world.running }, (_, i) => made.liveSession(i + 1, this.nowWallMs, this.#turn));
  }

  #tick(): StreamMessage {
    const waiting = this.#world.running === 0 ? [] : WAITING;
    return {
      type: "tick",
      data: { nowWallMs: this.nowWallMs + this.#turn * 1000, server: this.#numbers(), sessions: this.#live(), waiting },
    };
  }

  #stream(): Response {
    let mine: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        mine = controller;
        this.#streams.add(controller);
        const hello: StreamMessage = {
          type: "hello",
          data: {
            boot: make.uuid(this.#boot),
            software: "nbackup-server 0.1.0",
            nowWallMs: this.nowWallMs,
            revision: REVISION,
          },
        };
        for (const { type, data } of [hello, this.#tick()]) {
          controller.enqueue(new TextEncoder().encode(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`));
        }
      },
      cancel: () => {
        if (mine !== undefined) this.#streams.delete(mine);
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    this.requests.push(`${url.pathname}${url.search}`);
    this.#waiting.get(`${url.pathname}${url.search}`)?.();
    if (!url.pathname.startsWith("/api/")) return this.#file(request, url.pathname);
    if (this.#world.silent?.includes(url.pathname) === true) return await new Promise<Response>(() => undefined);
    if (this.#world.failing?.includes(url.pathname) === true) {
      return Response.json(
        { error: { code: "E_STORAGE_FAILED", message: "the disk does not answer", hint: "Look at the disk." } },
        { status: 503 },
      );
    }
    if (url.pathname === "/api/v1/stream") return this.#stream();
    return await this.#api(request, url);
  }

  #file(request: Request, path: string): Response {
    const file = this.#files(path);
    const { headers } = secured({ status: 200, headers: {}, body: null });
    if (file === undefined) return new Response(null, { status: 404, headers });
    const policy = "html" in file ? pagePolicy(file.styleSha256) : {};
    const kept = { ...headers, ...policy, "content-type": file.contentType, "cache-control": "no-cache" };
    const body = "html" in file ? new TextEncoder().encode(this.#page(file.html, request, path)) : file.body;
    if (request.headers.get("accept-encoding")?.includes("gzip") !== true) {
      return new Response(new Uint8Array(body), { headers: kept });
    }
    const packed = ("html" in file ? undefined : file.gzip) ?? gzipSync(body);
    return new Response(new Uint8Array(packed), { headers: { ...kept, "content-encoding": "gzip" } });
  }

  #page(html: string, request: Request, path: string): string {
    const { first, failing = [], silent = [] } = this.#world;
    if (first === "none") return html;
    const access = this.#access(!this.#isFromElsewhere && this.#isIn);
    const isThere = path === "/" && access.loggedIn && ![...failing, ...silent].includes("/api/v1/overview");
    return withFirstView(html, {
      ...{ boot: make.uuid(this.#boot), revision: first === "stale" ? REVISION - 1 : REVISION, access },
      ...{ nowWallMs: this.nowWallMs, chosen: chosenBy(request.headers.get("cookie") ?? undefined) },
      overview: isThere ? this.#overview() : null,
    });
  }

  get #isIn(): boolean {
    return this.#world.password === undefined || this.#loggedIn;
  }

  #access(loggedIn: boolean): AccessAnswer {
    const { password, download } = this.#world;
    return {
      ...{ passwordNeeded: password !== undefined, loggedIn },
      ...{ download: download === true, software: "nbackup-server 0.1.0" },
    };
  }

  async #api(request: Request, url: URL): Promise<Response> {
    const { password } = this.#world;
    if (url.pathname === "/api/v1/access") return Response.json(this.#access(this.#isIn));
    if (url.pathname === "/api/v1/login") {
      const sent: unknown = await request.json();
      this.#loggedIn = JSON.stringify(sent) === JSON.stringify({ password });
      if (this.#loggedIn) return new Response(null, { status: 204 });
    }
    if (!this.#isIn) {
      return Response.json(
        { error: { code: "unauthorized", message: "this wants the password", hint: null } },
        { status: 401 },
      );
    }
    if (url.pathname === "/api/v1/archives/file") {
      return new Response("hello\n", {
        headers: {
          "content-type": "application/octet-stream",
          "content-disposition": 'attachment; filename="file.conf"',
        },
      });
    }
    const value = this.#value(url);
    return value === undefined
      ? Response.json(
          { error: { code: "not-found", message: "there is nothing of this name", hint: null } },
          { status: 404 },
        )
      : Response.json(value);
  }

  #value({ pathname, searchParams }: URL): object | undefined {
    const { nowWallMs } = this;
    const world = this.#world;
    switch (pathname) {
      case "/api/v1/overview":
        return this.#overview();
      case "/api/v1/sessions": {
        const running = this.#live().map((view, i) => ({
          ...view,
          sparkline: Array.from({ length: 60 }, (_, k) => Math.round((60 + 40 * make.noise(i * 100 + k)) * 1024 ** 2)),
        }));
        const waiting = world.running === 0 ? [] : WAITING;
        const total = running.length + waiting.length;
        return { nowWallMs, running, waiting, next: null, total } satisfies SessionsAnswer;
      }
      case "/api/v1/sessions/history":
        return this.#history(searchParams);
      case "/api/v1/agents":
        return {
          ...{ nowWallMs, next: null, total: world.agents },
          rows: Array.from({ length: world.agents }, (_, n) => make.agentRow(n, nowWallMs)),
        } satisfies AgentsAnswer;
      case "/api/v1/storages":
        return {
          ...{ nowWallMs, next: null, total: (world.storages ?? STORAGES).length },
          rows: (world.storages ?? STORAGES).map((name) => make.storageRow(name, nowWallMs)),
        } satisfies StoragesAnswer;
      case "/api/v1/events":
        return this.#events(searchParams);
      case "/api/v1/config/effective":
        return make.configAnswer(nowWallMs);
      case "/api/v1/archives":
        return this.#archives();
      case "/api/v1/archives/tree":
        return this.#tree(searchParams.get("key"));
      case "/api/v1/archives/find":
        return this.#find(searchParams.get("pattern") ?? "", searchParams.get("after"));
      default: {
        const n = Number(/^\/api\/v1\/sessions\/.*-0*(\d+)$/.exec(pathname)?.[1] ?? Number.NaN);
        return Number.isNaN(n) ? undefined : made.sessionDetail(n, nowWallMs, world.slots);
      }
    }
  }

  #overview(): OverviewAnswer {
    const { nowWallMs } = this;
    const backups = make.backupRows(this.#world.backups, nowWallMs);
    const hasAny = this.#world.backups > 0;
    return {
      ...{ nowWallMs, software: "nbackup-server 0.1.0", boot: make.uuid(this.#boot), server: this.#numbers() },
      ...{
        counts: make.counts(backups),
        backups: backups.map(backupSummary),
        scanning: false,
        traffic: hasAny ? make.trafficPoints(nowWallMs) : [],
      },
      storages: hasAny ? STORAGES.map((name) => make.storageRow(name, nowWallMs)) : [],
      events: hasAny ? Array.from({ length: 12 }, (_, n) => make.apiEvent(n, nowWallMs)) : [],
      certificates: hasAny ? [{ name: "server", notAfterWallMs: nowWallMs + 12 * make.DAY_MS, daysLeft: 12 }] : [],
    };
  }

  #paged<T>(query: URLSearchParams, all: readonly T[], exact: readonly string[]): RecordPage<T> {
    const start = Number(query.get("after") ?? "0");
    const limit = Number(query.get("limit") ?? "50");
    const rows = all.slice(start, start + limit);
    return { rows, next: start + limit < all.length ? String(start + limit) : null, total: all.length, exact };
  }

  #history(query: URLSearchParams): RecordPage<ApiEnd> {
    const all = Array.from({ length: this.#world.history }, (_, n) => make.apiEnd(n, this.nowWallMs));
    const texts = textsOf(query, ["agent", "backup", "storage", "outcome"]);
    const exact = exactNames(texts, END_NAMES, (test) => all.some(test));
    return this.#paged(query, all.filter(endTest(texts, exact)), exact);
  }

  #events(query: URLSearchParams): RecordPage<ApiEvent> {
    const all = Array.from({ length: this.#world.history }, (_, n) => make.apiEvent(n, this.nowWallMs));
    const texts = textsOf(query, ["level", "kind", "agent", "session", "text"]);
    const exact = exactNames(texts, EVENT_NAMES, (test) => all.some(test));
    return this.#paged(query, all.filter(eventTest(texts, exact)), exact);
  }

  #archives(): ArchivesAnswer {
    const rows =
      this.#world.backups === 0 ? [] : Array.from({ length: 14 }, (_, n) => make.archiveSummary(n, this.nowWallMs));
    return {
      rows,
      next: null,
      total: rows.length,
      backups: make.backupRows(this.#world.backups, this.nowWallMs),
      scannedWallMs: this.nowWallMs - make.HOUR_MS,
    };
  }

  #tree(key: string | null): TreeAnswer {
    const path = key === null ? null : Buffer.from(key, "base64url").toString();
    const rows = Array.from({ length: key === null ? 40 : 9 }, (_, n) =>
      make.treeEntry(n, this.nowWallMs, path ?? "etc"),
    );
    return { archive: make.archiveSummary(0, this.nowWallMs), path, key, rows, next: null, total: null };
  }

  /** Of `many` there are two pages. */
  #find(pattern: string, after: string | null): FindAnswer {
    const found = after === null ? [4, 7, 9] : [11, 12];
    const files = found.map((n) => {
      const entry = make.treeEntry(n, this.nowWallMs, "etc/nginx");
      const versions = [3, 0].map((k) => ({
        ...{
          storage: "main",
          first: make.archiveSummary(k + 2, this.nowWallMs).name,
          last: make.archiveSummary(k, this.nowWallMs).name,
          archiveCount: 3,
        },
        entry: { ...entry, bytes: entry.bytes + k * 100, mtimeWallMs: (entry.mtimeWallMs ?? 0) - k * make.DAY_MS },
      }));
      return { path: entry.path, key: entry.key, agent: "web-01", backup: "etc", versions };
    });
    const next = pattern === "many" && after === null ? "bW9yZQ" : null;
    return { rows: files, next, total: null, archiveCount: 14, failures: [] };
  }
}

/**
 * All routes behind the access rules, as one function of a request. It opens no socket, reads no file and knows no configuration file: what it
 * shows comes from the read model, the page's own files from whoever embeds them.
 */
import type { BackupRow } from "./api-archives.ts";
import type { AccessAnswer, FirstView, LoginRequest, MetricsAnswer } from "./api-types.ts";
import { type Access, type Admitted, pagePolicy, secured } from "./access.ts";
import type { Forgetting } from "./forgetting.ts";
import { badRequest, empty, json, notFound, Refused, type WebAnswer, type WebRequest } from "./http.ts";
import { compressed, takesGzip } from "./compression.ts";
import { checkKnown, textOf } from "./paging.ts";
import { PASSWORD_BYTES_MAX, type Passwords } from "./passwords.ts";
import { prometheusText } from "./prometheus.ts";
import type { ArchiveBrowser, EmitEvent, ReadModel } from "./read-model.ts";
import { refusalAnswer } from "./refusal-page.ts";
import { ArchiveRoutes } from "./routes-archives.ts";
import { ServerRoutes } from "./routes-server.ts";
import { activeHistoryRoute, eventsRoute, historyRoute, sessionRoute, sessionsRoute } from "./routes-sessions.ts";
import { LiveStream } from "./stream.ts";
import { chosenBy, withFirstView } from "./first-view.ts";

const LOGIN_BYTES_MAX = 8 * PASSWORD_BYTES_MAX;

/** Routes that are one thing: a filter there is a slip. */
const UNFILTERED = new Set(
  ["access", "health", "overview", "config/effective", "metrics"].map((route) => `/api/v1/${route}`),
);

/** A file of the page. The page itself is text, for its first answers stand in it; the name of others changes with their content. */
export type PageFile =
  | {
      readonly contentType: string;
      readonly html: string;
      /** SHA-256 of the style sheet that stands in it, in base64. */
      readonly styleSha256: string;
    }
  | {
      readonly contentType: string;
      readonly body: Uint8Array;
      /** The same, smaller, for those who take it; undefined where that would not be smaller. */
      readonly gzip: Uint8Array | undefined;
    };

/** Who may ask what; a reload may bring others. */
export interface WebRules {
  readonly access: Access;
  /** Undefined: there is no password. */
  readonly passwords: Passwords | undefined;
  readonly allowDownload: boolean;
}

export interface WebAppOptions {
  readonly model: ReadModel;
  readonly rules: WebRules;
  readonly browser: ArchiveBrowser;
  readonly emit: EmitEvent;
  readonly forgetting: Forgetting;
  /** By path, `/` for the page itself; undefined where there is no such file. */
  readonly page: (path: string) => PageFile | undefined;
}

export class WebApp {
  readonly stream: LiveStream;
  readonly #options: WebAppOptions;
  readonly #server: ServerRoutes;
  readonly #archives: ArchiveRoutes;
  #rules: WebRules;

  constructor(options: WebAppOptions) {
    const { model, browser, emit, forgetting } = options;
    this.#options = options;
    this.#rules = options.rules;
    this.stream = new LiveStream(model);
    this.#server = new ServerRoutes(model, forgetting);
    this.#archives = new ArchiveRoutes({ model, browser, isAllowed: () => this.#mayDownload, emit });
  }

  /** These count from now on. Who follows the live stream comes back, and is judged by them. */
  use(rules: WebRules): void {
    this.#rules = rules;
    this.stream.close();
  }

  /** How every backup entry stands. */
  backups(): readonly BackupRow[] {
    return this.#server.backups();
  }

  /** Something that backup rows are made from has changed. */
  forget(): void {
    this.#server.forget();
  }

  /** To HEAD as to GET: who sends it leaves out the body. Never rejects for what a request holds: then the answer says what is wrong with it. */
  async handle(request: WebRequest): Promise<WebAnswer> {
    try {
      const admitted = await this.#rules.access.admit(request);
      return secured(await compressed(await this.#route(request, admitted), request));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return secured(refusalAnswer(error, request));
    }
  }

  get #mayDownload(): boolean {
    return this.#rules.allowDownload && this.#rules.passwords !== undefined;
  }

  async #route(request: WebRequest, admitted: Admitted): Promise<WebAnswer> {
    const { path, query, signal } = request;
    const { model } = this.#options;
    switch (path) {
      case "/metrics": {
        const { contentType, text } = await prometheusText(model.metrics());
        return { status: 200, headers: { "content-type": contentType, "cache-control": "no-store" }, body: text };
      }
      case "/api/v1/stream":
        checkKnown(query, ["session"]);
        return this.stream.open(textOf(query, "session"), admitted.isStill, signal);
      case "/api/v1/login":
        return await this.#login(request, admitted);
      case "/api/v1/logout":
        return this.#logout(request);
      case "/api/v1/archives/file":
        return await this.#archives.file(request, admitted.address);
      default:
        return path.startsWith("/api/") ? await this.#api(request, admitted) : this.#page(request, admitted);
    }
  }

  async #api({ path, query }: WebRequest, { trusted }: Admitted): Promise<WebAnswer> {
    const { model } = this.#options;
    if (UNFILTERED.has(path)) checkKnown(query, []);
    switch (path) {
      case "/api/v1/access":
        return json(this.#accessAnswer(trusted));
      case "/api/v1/health": {
        const health = this.#server.health(trusted);
        return json(health, health.state === "READY" || health.state === "BUSY" ? 200 : 503);
      }
      case "/api/v1/metrics":
        return json({ metrics: model.metrics() } satisfies MetricsAnswer);
      case "/api/v1/overview":
        return json(this.#server.overview());
      case "/api/v1/agents":
        return json(this.#server.agents(query));
      case "/api/v1/storages":
        return json(this.#server.storages(query));
      case "/api/v1/sessions":
        return json(sessionsRoute(model, query));
      case "/api/v1/sessions/history":
        return json(historyRoute(model, query));
      case "/api/v1/sessions/active-history":
        return json(activeHistoryRoute(model, query));
      case "/api/v1/events":
        return json(eventsRoute(model, query));
      case "/api/v1/config/effective":
        return json(model.config());
      case "/api/v1/archives":
        return json(this.#archives.list(query, this.#server.backups()));
      case "/api/v1/archives/tree":
        return json(await this.#archives.tree(query));
      case "/api/v1/archives/find":
        return json(await this.#archives.find(query));
      default: {
        const session = /^\/api\/v1\/sessions\/([0-9a-f-]{1,64})$/.exec(path)?.[1];
        if (session === undefined) throw notFound("there is nothing of this name");
        checkKnown(query, []);
        return json(sessionRoute(model, session));
      }
    }
  }

  #accessAnswer(loggedIn: boolean): AccessAnswer {
    const passwordNeeded = this.#rules.passwords !== undefined;
    return { passwordNeeded, loggedIn, download: this.#mayDownload, software: this.#options.model.status().software };
  }

  async #login(request: WebRequest, { address }: Admitted): Promise<WebAnswer> {
    const { passwords } = this.#rules;
    if (passwords === undefined) throw notFound("there is no password here");
    if (!/^application\/json\b/i.test(request.header("content-type") ?? "")) throw badRequest("the body is to be JSON");
    const password = passwordIn(await request.body(LOGIN_BYTES_MAX));
    if (password === undefined) throw badRequest("the body is to be a JSON object with a password");
    return empty(204, { "set-cookie": await passwords.login(address, password) });
  }

  #logout(request: WebRequest): WebAnswer {
    const { passwords } = this.#rules;
    if (passwords === undefined) throw notFound("there is no password here");
    return empty(204, { "set-cookie": passwords.logout(request.header("cookie")) });
  }

  #page(request: WebRequest, { trusted }: Admitted): WebAnswer {
    const file = this.#options.page(request.path);
    if (file === undefined) throw notFound("there is no such page; the routes under /api/v1 and /metrics are there");
    if ("html" in file) {
      // Neither kept by a browser nor shown by its way back: who has logged out sees nothing of before.
      const about = { "content-type": file.contentType, "cache-control": "no-store" };
      const headers = { ...about, ...pagePolicy(file.styleSha256) };
      return { status: 200, headers, body: withFirstView(file.html, this.#firstView(request, trusted)) };
    }
    const cache = "public, max-age=31536000, immutable";
    const headers = { "content-type": file.contentType, "cache-control": cache, vary: "accept-encoding" };
    return file.gzip !== undefined && takesGzip(request)
      ? { status: 200, headers: { ...headers, "content-encoding": "gzip" }, body: file.gzip }
      : { status: 200, headers, body: file.body };
  }

  #firstView({ path, header }: WebRequest, trusted: boolean): FirstView {
    const { clock, status } = this.#options.model;
    return {
      // How often something happens is not for everybody.
      ...{ boot: status().boot, revision: trusted ? this.stream.revision : -1, nowWallMs: clock.wall() },
      ...{ access: this.#accessAnswer(trusted), chosen: chosenBy(header("cookie")) },
      overview: trusted && path === "/" ? this.#server.overview() : null,
    };
  }
}

function passwordIn(body: string | undefined): LoginRequest["password"] | undefined {
  try {
    const value: unknown = JSON.parse(body ?? "");
    if (typeof value !== "object" || value === null || !("password" in value)) return undefined;
    return typeof value.password === "string" ? value.password : undefined;
  } catch {
    return undefined; // Told as what it is by the caller.
  }
}

/**
 * Who may ask what, in this order: the address, the name of the host, method and length, where the request was made, and only then whether
 * a password was given. What a request wants is looked at by routes.ts behind it. Nothing here answers with a secret or a file.
 */
import { AddressList, clientAddress, isHostKnown } from "./addresses.ts";
import { Refused, type WebAnswer, type WebRequest } from "./http.ts";
import type { Passwords } from "./passwords.ts";

/** A request's target; ours are far shorter, but paths in archives can be long. */
const TARGET_CHARACTERS_MAX = 16_384;
const QUERY_VALUES_MAX = 32;

export interface AccessSettings {
  readonly allowOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  /** Beside addresses and localhost. */
  readonly hostNames: readonly string[];
}

/** What anybody may have who came past address and host: the page has to say that it wants a password. */
const OPEN_PATHS = new Set(["/api/v1/access", "/api/v1/health", "/api/v1/login"]);
const POST_PATHS = new Set(["/api/v1/login", "/api/v1/logout"]);

export interface Admitted {
  /** Of who asks, behind proxies that are trusted. */
  readonly address: string;
  /** Has given the password; also when there is none. */
  readonly trusted: boolean;
  /** Whether that still holds, for an answer that goes on. */
  readonly isStill: () => boolean;
}

export class Access {
  readonly #allowed: AddressList;
  readonly #proxies: AddressList;
  readonly #hostNames: readonly string[];
  readonly #passwords: Passwords | undefined;
  /** An address that may not look has tried. */
  readonly #onRefused: (address: string) => void;

  constructor(settings: AccessSettings, passwords: Passwords | undefined, onRefused: (address: string) => void) {
    this.#allowed = new AddressList(settings.allowOrigins);
    this.#proxies = new AddressList(settings.trustedProxies);
    this.#hostNames = settings.hostNames;
    this.#passwords = passwords;
    this.#onRefused = onRefused;
  }

  /** Throws Refused. */
  async admit(request: WebRequest): Promise<Admitted> {
    const address = clientAddress(request.peer, request.header("x-forwarded-for"), this.#proxies);
    if (!this.#allowed.has(address)) {
      this.#onRefused(address);
      throw new Refused(403, "forbidden", "this address may not look: web_ui.allow_origins does not name it", {
        page: "address",
      });
    }
    if (!isHostKnown(request.header("host"), this.#hostNames)) {
      throw new Refused(403, "forbidden", "the server is not known by this name", {
        hint: "Ask by its address, or put the name into web_ui.host_names.",
        page: "host",
      });
    }
    checkForm(request);
    checkOrigin(request);
    const isStill = await this.#trust(request, address);
    if (isStill === undefined && isGuarded(request.path)) throw unauthorized(request.path);
    return { address, trusted: isStill !== undefined, isStill: isStill ?? ((): boolean => false) };
  }

  /** Whether what was given goes on to count; undefined: nothing was. */
  async #trust(request: WebRequest, address: string): Promise<(() => boolean) | undefined> {
    const passwords = this.#passwords;
    if (passwords === undefined) return () => true;
    const cookie = request.header("cookie");
    if (passwords.isLoggedIn(cookie)) return () => passwords.isStillLoggedIn(cookie);
    return (await passwords.isRight(address, request.header("authorization"))) ? () => true : undefined;
  }
}

/** The files of the page hold nothing; everything under /api and the metrics do. */
function isGuarded(path: string): boolean {
  return (path.startsWith("/api/") && !OPEN_PATHS.has(path)) || path === "/metrics";
}

function unauthorized(path: string): Refused {
  // A browser's own window for passwords would come up over the page: only who asks for metrics hears of Basic.
  const headers = path === "/metrics" ? { "www-authenticate": 'Basic realm="nbackup", charset="UTF-8"' } : {};
  return new Refused(401, "unauthorized", "this wants the password", { headers });
}

function checkForm({ method, path, target, query }: WebRequest): void {
  if (target.length > TARGET_CHARACTERS_MAX) throw new Refused(414, "bad-request", "the address is too long");
  if (query.size > QUERY_VALUES_MAX) throw new Refused(400, "bad-request", "the query has too many values");
  const allowed = POST_PATHS.has(path) ? ["POST"] : ["GET", "HEAD"];
  if (allowed.includes(method)) return;
  throw new Refused(405, "bad-request", `${path.slice(0, 100)} takes ${allowed.join(" and ")} only`, {
    headers: { allow: allowed.join(", ") },
  });
}

/** Another site's page can have a browser ask, cookie or not: browsers say so, and what they say cannot be forged by a page. */
function checkOrigin({ header, path, method }: WebRequest): void {
  if (!path.startsWith("/api/") && path !== "/metrics") return;
  const site = header("sec-fetch-site");
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    throw new Refused(403, "forbidden", "pages of other sites may not ask");
  }
  const origin = header("origin");
  if (method !== "POST" || origin === undefined) return;
  if (hostOf(origin) !== header("host")) throw new Refused(403, "forbidden", "pages of other sites may not ask");
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

/**
 * For every answer. No script or style stands in the page itself, nothing comes from elsewhere, nobody may frame it. HSTS is left out: it would
 * bind the whole host, other ports and services included, to what this page is configured to.
 */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": policy("'self'"),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};

function policy(styles: string): string {
  const sources = `script-src 'self'; style-src ${styles}; img-src 'self' data:; font-src 'self'; connect-src 'self'`;
  return `default-src 'none'; ${sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

/** Of the page itself, whose one style sheet stands in it. `sha256`: of that, in base64. */
export function pagePolicy(sha256: string): Record<string, string> {
  return { "content-security-policy": policy(`'sha256-${sha256}'`) };
}

/** What a route says of itself stands. */
export function secured(answer: WebAnswer): WebAnswer {
  return { ...answer, headers: { ...SECURITY_HEADERS, ...answer.headers } };
}

/** A request and an answer as plain values, so that routes know no socket and are tested without one. web-server.ts makes them from real ones. */
import type { ApiError } from "./api-types.ts";
import type { RefusalPage } from "./refusal-page.ts";

export interface WebRequest {
  readonly method: string;
  /** Without the query, as it came: `/api/v1/sessions`. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Path and query as they came. */
  readonly target: string;
  /** Of any case. */
  readonly header: (name: string) => string | undefined;
  /** Address of the other end of the connection. */
  readonly peer: string;
  /** Undefined: longer than that, or not there in time. */
  readonly body: (bytesMax: number) => Promise<string | undefined>;
  /** Aborts when whoever asked goes away. */
  readonly signal: AbortSignal;
}

export interface WebAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | ReadableStream<Uint8Array> | null;
  /** An answer without end: time limits for answers do not count. */
  readonly isStream?: boolean;
}

export function json(value: object, status = 200, headers: Readonly<Record<string, string>> = {}): WebAnswer {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", "cache-control": "no-store", ...headers },
    body: JSON.stringify(value),
  };
}

export function empty(status: number, headers: Readonly<Record<string, string>> = {}): WebAnswer {
  return { status, headers: { "cache-control": "no-store", ...headers }, body: null };
}

/** Thrown by routes: the answer is `toAnswer`. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** A person meets it who opens the page (refusal-page.ts). */
  readonly page: RefusalPage | null;

  constructor(
    status: number,
    code: string,
    message: string,
    options: {
      readonly hint?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly page?: RefusalPage;
    } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = options.hint ?? null;
    this.headers = options.headers ?? {};
    this.page = options.page ?? null;
  }

  toAnswer(): WebAnswer {
    const { code, message, hint } = this;
    const body: ApiError = { error: { code, message, hint } };
    return json(body, this.status, this.headers);
  }
}

export function badRequest(message: string): Refused {
  return new Refused(400, "bad-request", message);
}

export function notFound(message: string): Refused {
  return new Refused(404, "not-found", message);
}

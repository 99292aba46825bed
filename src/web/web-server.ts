/**
 * HTTP by Bun: makes request values of real ones and sends what comes back, within the time limits. Who may ask what, and what is answered, is
 * decided behind `handle`; nothing of a request is looked at here but its form.
 */
import type { Clock } from "#base/clock.ts";
import type { Address } from "#config/types.ts";
import { Refused, type WebAnswer, type WebRequest } from "./http.ts";
import { secured } from "./access.ts";

const BODY_BYTES_MAX = 65_536;
const NO_URL = { pathname: "", search: "", searchParams: new URLSearchParams() } as const;
/** Bun counts whole seconds, and no more of them. */
const SECONDS_MAX = 255;

export interface WebServerOptions {
  readonly listen: Address;
  /** PEM; undefined: plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Asked for each request: a reload may change them, but for idle connections. */
  readonly timeouts: () => {
    readonly readTimeoutMs: number;
    readonly writeTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };
  readonly clock: Clock;
  /** Rejects only when it has a bug. */
  readonly handle: (request: WebRequest) => Promise<WebAnswer>;
  readonly failed: (error: unknown) => void;
  /** A long answer ended before its end: what it came from failed, or its client took nothing for too long. */
  readonly brokeOff: (error: unknown) => void;
}

export interface WebServer {
  readonly port: number;
  /** Closes every connection. */
  stop(): void;
  /** The port is free at once; requests that are under way go on. Resolves when the last connection is gone. */
  leave(): Promise<void>;
}

/** Throws what listening throws: its code is EADDRINUSE, EACCES … */
export function serveWeb(options: WebServerOptions): WebServer {
  const { listen, tls, timeouts, failed } = options;
  const server = Bun.serve({
    ...{ hostname: listen.host, port: listen.port, development: false, maxRequestBodySize: BODY_BYTES_MAX },
    idleTimeout: seconds(timeouts().idleTimeoutMs),
    ...(tls === undefined ? {} : { tls }),
    fetch: async (request, bun) => {
      const peer = bun.requestIP(request)?.address;
      // Its client has reset the connection since: nobody gets an answer, and who asked cannot be told any more.
      if (peer === undefined) return new Response(null, { status: 400 });
      // While its body comes, which has a limit of its own, and an answer is made and taken.
      const { readTimeoutMs, writeTimeoutMs } = timeouts();
      bun.timeout(request, seconds(Math.max(readTimeoutMs, writeTimeoutMs)));
      const answer = await answered(request, peer, options);
      // What has no end, and what has its own watch, is not cut off by a client's pauses.
      if (answer.isStream === true || answer.body instanceof ReadableStream) bun.timeout(request, 0);
      return responseOf(answer, options);
    },
    error: (error) => {
      failed(error);
      return new Response(null, { status: 500 });
    },
  });
  return {
    port: server.port ?? listen.port,
    stop: () => void server.stop(true),
    leave: async () => await server.stop(false),
  };
}

async function answered(request: Request, peer: string, options: WebServerOptions): Promise<WebAnswer> {
  try {
    return await options.handle(requestOf(request, peer, options));
  } catch (error) {
    if (error instanceof Refused) return secured(error.toAnswer());
    options.failed(error);
    return secured(new Refused(500, "internal", "the server made a mistake, which its log names").toAnswer());
  }
}

function requestOf(request: Request, peer: string, { clock, timeouts }: WebServerOptions): WebRequest {
  // With a Host that is none there is no address, and no path of ours; who asks is looked at before that all the same.
  const url = URL.canParse(request.url) ? new URL(request.url) : NO_URL;
  return {
    ...{ method: request.method, path: url.pathname, query: url.searchParams, target: `${url.pathname}${url.search}` },
    ...{ peer, signal: request.signal },
    header: (name) => request.headers.get(name) ?? undefined,
    body: (bytesMax) => bodyOf(request, bytesMax, { clock, limitMs: timeouts().readTimeoutMs }),
  };
}

async function bodyOf(
  request: Request,
  bytesMax: number,
  { clock, limitMs }: { readonly clock: Clock; readonly limitMs: number },
): Promise<string | undefined> {
  const reader = request.body?.getReader();
  if (reader === undefined) return "";
  const late = Promise.withResolvers<undefined>();
  const timer = clock.after(limitMs, () => late.resolve(undefined));
  const parts: Uint8Array[] = [];
  try {
    for (let bytes = 0; ;) {
      // A connection that breaks is a body that does not come.
      const read = await Promise.race([reader.read().catch(() => undefined), late.promise]);
      if (read === undefined) return undefined;
      if (read.done) return Buffer.concat(parts).toString("utf8");
      bytes += read.value.length;
      if (bytes > bytesMax) return undefined;
      parts.push(read.value);
    }
  } finally {
    timer.cancel();
    // What is left of it nobody reads.
    void reader.cancel().catch(() => undefined);
  }
}

/** For a HEAD too: Bun sends none of the body, but its length, and cancels what is a stream. */
function responseOf({ status, headers, body, isStream }: WebAnswer, options: WebServerOptions): Response {
  if (!(body instanceof ReadableStream)) return new Response(body, { status, headers });
  const guardedBody = isStream === true ? body : guarded(body, options.timeouts().writeTimeoutMs, options);
  // Without a time limit as it is, the connection would be kept for ever.
  return new Response(guardedBody, { status, headers: { ...headers, connection: "close" } });
}

/** The same bytes, for as long as the client goes on taking them. What breaks off has no end that would look like one. */
export function guarded(
  body: ReadableStream<Uint8Array>,
  limitMs: number,
  { clock, brokeOff }: Pick<WebServerOptions, "clock" | "brokeOff">,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let timer: ReturnType<Clock["after"]> | undefined;
  /** The client went away: nothing is wrong, and nobody takes what is still read. */
  let gone = false;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        timer?.cancel();
        try {
          const { done, value } = await reader.read();
          if (gone) return;
          if (done) {
            controller.close();
            return;
          }
          controller.enqueue(value);
        } catch (error) {
          if (gone) return;
          brokeOff(error);
          // Without a reason, which Bun would write to the standard error.
          controller.error();
          return;
        }
        timer = clock.after(limitMs, () => {
          const late = new Error(`the client took nothing for ${limitMs / 1000} s`);
          brokeOff(late);
          controller.error();
          void reader.cancel(late).catch(() => undefined);
        });
      },
      async cancel(reason): Promise<void> {
        gone = true;
        timer?.cancel();
        await reader.cancel(reason);
      },
    },
    // What waits here would be memory for each slow client.
    { highWaterMark: 0 },
  );
}

function seconds(ms: number): number {
  return Math.min(SECONDS_MAX, Math.max(1, Math.ceil(ms / 1000)));
}

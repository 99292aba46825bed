/** A client of the page's API for end-to-end tests: JSON, cookies of a login, and the live stream read event by event. */
import { expect } from "bun:test";

export interface StreamEvent {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

const STREAM_WAIT_MS = 20_000;

export class PageClient {
  readonly base: string;
  #cookie: string | undefined;

  constructor(port: number, scheme: "http" | "https" = "http") {
    this.base = `${scheme}://127.0.0.1:${port}`;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.base}${path}`, {
      headers: { ...this.#login(), ...headers },
      tls: { rejectUnauthorized: false },
    });
  }

  /** The answer, which must be a success. */
  async json<T>(path: string): Promise<T> {
    const response = await this.get(path);
    const text = await response.text();
    expect({ path, status: response.status, text: response.status === 200 ? "" : text }).toEqual({
      ...{ path, status: 200, text: "" },
    });
    return JSON.parse(text) as T;
  }

  async login(password: string): Promise<Response> {
    const response = await fetch(`${this.base}/api/v1/login`, {
      ...{ method: "POST", body: JSON.stringify({ password }), tls: { rejectUnauthorized: false } },
      headers: { "content-type": "application/json" },
    });
    this.#cookie = response.headers.get("set-cookie")?.split(";")[0] ?? this.#cookie;
    return response;
  }

  /** Events of the live stream up to the first one that is wanted. */
  async streamUntil(
    path: string,
    wanted: (event: StreamEvent) => boolean,
    opened?: () => void,
  ): Promise<StreamEvent[]> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), STREAM_WAIT_MS);
    const response = await fetch(`${this.base}${path}`, { headers: this.#login(), signal: stop.signal });
    expect(response.headers.get("content-type")).toStartWith("text/event-stream");
    opened?.();
    const events: StreamEvent[] = [];
    try {
      let text = "";
      for await (const bytes of response.body as AsyncIterable<Uint8Array>) {
        text += new TextDecoder().decode(bytes);
        const parts = text.split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) {
          const [, type, data] = /event: (\S+)\ndata: (.*)$/.exec(part) ?? [];
          if (type === undefined || data === undefined) continue;
          events.push({ type, data: JSON.parse(data) as Record<string, unknown> });
          if (wanted(events[events.length - 1] as StreamEvent)) return events;
        }
      }
      throw new Error(`the stream ended after ${events.map(({ type }) => type).join(" ")}`);
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  #login(): Record<string, string> {
    return this.#cookie === undefined ? {} : { cookie: this.#cookie };
  }
}

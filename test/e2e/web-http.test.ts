/** The page's HTTP on real sockets: clients that are slow, send too much, or take nothing. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { eventRecord, PageKit, PASSWORD, scannedArchive } from "#test/support/page-kit.ts";
import { systemClock } from "#bin/system.ts";
import { serveWeb, type WebServer } from "#web/web-server.ts";

setDefaultTimeout(60_000);

const PLACE = "storage=main&agent=web-1&backup=home&archive=2026-01-01T00-00-00-000Z.tar.gz&key=eA";

let web: WebServer | undefined;
const sockets: Socket[] = [];
const failures: unknown[] = [];
const broken: unknown[] = [];
let heard = Promise.withResolvers<void>();

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  web?.stop();
  expect(failures.splice(0)).toEqual([]);
});

function serve(kit: PageKit, limits: { read?: number; write?: number } = {}): void {
  web = serveWeb({
    ...{ listen: { host: "127.0.0.1", port: 0 }, tls: undefined, clock: systemClock },
    timeouts: () => ({
      readTimeoutMs: limits.read ?? 5_000,
      writeTimeoutMs: limits.write ?? 5_000,
      idleTimeoutMs: 2_000,
    }),
    handle: (request) => {
      heard.resolve();
      return kit.app.handle(request);
    },
    failed: (error) => void failures.push(error),
    brokeOff: (error) => void broken.push(error),
  });
}

const PAGE = { contentType: "text/javascript", body: new Uint8Array(777), gzip: new Uint8Array(33) };

interface Answer {
  readonly status: string;
  /** Without `date`, by names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

async function answerTo(method: string, path: string, more = ""): Promise<Answer> {
  const text = await send(head(`${method} ${path}`, `Connection: close\r\n${more}`)).closed;
  const end = text.indexOf("\r\n\r\n");
  const [status = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Map(lines.map((line) => [line.replace(/:.*/, "").toLowerCase(), line.replace(/^[^:]*: */, "")]));
  headers.delete("date");
  return { status, headers, body: text.slice(end + 4) };
}

/** The next request, from its head on, is in the server's hands. */
async function asked(): Promise<void> {
  heard = Promise.withResolvers<void>();
  await heard.promise;
}

interface Raw {
  readonly socket: Socket;
  /** All that came until the other end closed. */
  readonly closed: Promise<string>;
}

function send(text: string): Raw {
  const socket = connect(web?.port ?? 0, "127.0.0.1", () => socket.write(text));
  sockets.push(socket);
  let got = "";
  socket.on("data", (bytes) => {
    got += bytes.toString("latin1");
  });
  socket.on("error", (error) => {
    got += String(error);
  });
  return { socket, closed: new Promise((resolve) => void socket.on("close", () => resolve(got))) };
}

const head = (line: string, more = ""): string => `${line} HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}\r\n`;
const kitOf = (options: ConstructorParameters<typeof PageKit>[0] = {}): PageKit =>
  new PageKit({ ...options, access: { allowOrigins: ["127.0.0.1"] } });

describe("a client", () => {
  test("whose address may not look hears that before anything of its request, also with a Host that is none", async () => {
    const statusOf = async (host: string): Promise<string> =>
      (await send(`GET /api/v1/events HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`).closed).slice(9, 12);
    const kit = new PageKit();
    serve(kit);
    for (const host of ["127.0.0.1", "a b", "127.0.0.1:99999", "[::1", ""]) expect(await statusOf(host)).toBe("403");
    expect(kit.refused).toHaveLength(5);
    web?.stop();
    serve(kitOf({ password: true }));
    expect([await statusOf("a b"), await statusOf("127.0.0.1:99999"), await statusOf("127.0.0.1")]).toEqual([
      ...["403", "404", "401"],
    ]);
  });

  test("that has gone by the time its request is read is no address that may not look", async () => {
    const kit = kitOf();
    serve(kit);
    for (let i = 0; i < 20; i += 1) {
      const { socket, closed } = send("");
      // Sent, then reset: the server reads a request of a connection that has no other end any more.
      socket.on("connect", () => socket.write(head("GET /"), () => socket.resetAndDestroy()));
      await closed;
    }
    expect((await fetch(`http://127.0.0.1:${web?.port}/api/v1/health`)).status).toBe(200);
    expect(kit.refused).toEqual([]);
  });

  test("that never ends its request's head is closed, however it trickles", async () => {
    serve(kitOf());
    const silent = send("GET / HTTP/1.1\r\nHost: 127");
    const slow = send("GET / HTTP/1.1\r\nX: ");
    const timer = setInterval(() => slow.socket.write("x"), 300);
    await slow.closed;
    clearInterval(timer);
    expect(await silent.closed).toBe("");
  });

  test("that sends more than anybody needs is refused at once", async () => {
    serve(kitOf());
    expect(await send(head("GET /", `X: ${"x".repeat(200_000)}\r\n`)).closed).toStartWith("HTTP/1.1 431");
    const large = "Content-Type: application/json\r\nContent-Length: 10000000\r\n";
    expect(await send(`${head("POST /api/v1/login", large)}{`).closed).toStartWith("HTTP/1.1 413");
    const both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    expect(await send(`${head("POST /api/v1/login", both)}0\r\n\r\n`).closed).toStartWith("HTTP/1.1 400");
  });

  test("whose body does not come in time is answered, and one that breaks off is no mistake of the server", async () => {
    serve(kitOf({ password: true }), { read: 3_000, write: 500 });
    const body = "Content-Type: application/json\r\nConnection: close\r\nContent-Length: 100\r\n";
    expect(await send(`${head("POST /api/v1/login", body)}{`).closed).toStartWith("HTTP/1.1 400");
    const broken = send(`${head("POST /api/v1/login", body)}{`);
    await asked();
    broken.socket.destroy();
    await broken.closed;
    expect((await fetch(`http://127.0.0.1:${web?.port}/api/v1/health`)).status).toBe(200);
  });

  test("that has its live stream and reads none of it is closed, and nothing of it is kept", async () => {
    const kit = kitOf();
    serve(kit);
    const raw = send(head("GET /api/v1/stream"));
    raw.socket.pause();
    while (kit.app.stream.clientCount === 0) await Bun.sleep(5);
    const message = "x".repeat(50_000);
    for (let i = 0; kit.app.stream.clientCount > 0; i += 1) {
      expect(i).toBeLessThan(10_000);
      kit.app.stream.look();
      kit.app.stream.event(eventRecord({ message }));
      if (i % 20 === 0) await Bun.sleep(1);
    }
    raw.socket.resume();
    await raw.closed;
  });

  test("that asks by HEAD gets the head of GET's answer with the length of its body, and nothing behind it", async () => {
    const kit = kitOf({ page: (path) => (path === "/p.js" ? PAGE : undefined) });
    for (let i = 0; i < 50; i += 1) kit.events.add(eventRecord({ message: "x".repeat(200) }));
    serve(kit);
    const gzip = "Accept-Encoding: gzip\r\n";
    const targets = ["/p.js", "/api/v1/health", "/api/v1/events", "/metrics", "/none", "/api/v1/events?x=1"];
    for (const [path, more] of targets.flatMap((target) => [[target, ""] as const, [target, gzip] as const])) {
      const got = await answerTo("GET", path, more);
      expect([path, got.headers.get("content-length")]).toEqual([path, String(got.body.length)]);
      expect(await answerTo("HEAD", path, more)).toEqual({ ...got, body: "" });
    }
  });

  test("that asks for the live stream by HEAD hears no length, and no stream is kept for it", async () => {
    const kit = kitOf();
    serve(kit);
    const { status, headers, body } = await answerTo("HEAD", "/api/v1/stream");
    expect([status, headers.get("content-type"), headers.get("content-length"), body]).toEqual([
      ...["HTTP/1.1 200 OK", "text/event-stream; charset=utf-8", undefined, ""],
    ]);
    expect(kit.app.stream.clientCount).toBe(0);
  });

  const FILE_BYTES = 3_000_000;

  /** What comes to a client that asks for the file. */
  async function downloaded(body: ReadableStream<Uint8Array>): Promise<string> {
    const kit = kitOf({
      ...{ password: true, allowDownload: true },
      browser: { file: () => Promise.resolve({ name: "x", path: "x", bytes: FILE_BYTES, body }) },
    });
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    serve(kit);
    const authorization = `Authorization: Basic ${btoa(`me:${PASSWORD}`)}\r\n`;
    return await send(head(`GET /api/v1/archives/file?${PLACE}`, authorization)).closed;
  }

  test("that has had a file is let go", async () => {
    const answer = await downloaded(new Blob([new Uint8Array(FILE_BYTES)]).stream() as ReadableStream<Uint8Array>);
    expect(answer).toStartWith("HTTP/1.1 200");
    expect(answer.length).toBeGreaterThan(FILE_BYTES);
    expect(answer).toEndWith("\r\n0\r\n\r\n");
  });

  test("whose file turns out to be damaged has no end of it that would look like one", async () => {
    let parts = 0;
    const answer = await downloaded(
      new ReadableStream({
        pull(controller): void {
          parts += 1;
          if (parts < 4) controller.enqueue(new Uint8Array(1000).fill(65));
          else controller.error(new Error("a chunk is damaged"));
        },
      }),
    );
    // The connection is reset, perhaps before all of what was sent has come.
    expect(answer).not.toContain("\r\n0\r\n");
    expect(String(broken.splice(0))).toContain("a chunk is damaged");
  });
});

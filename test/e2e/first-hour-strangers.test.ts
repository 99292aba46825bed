/** Enrolments that must not succeed, with the compiled programs: somebody in between, other servers, old tokens, guesses. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import { systemClock, systemRandom } from "#bin/system.ts";
import { type TlsListener, listenTls } from "#net/listen.ts";
import { newToken, parseToken, tokenText } from "#pki/enroll-token.ts";
import type { RunResult } from "#scripts/lib/run.ts";
import { FirstHour } from "#test/support/first-hour.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";
import { FrameDecoder } from "#wire/decoder.ts";
import { encodeMessage } from "#wire/encode.ts";
import { ENROLL_ALPN_PROTOCOL } from "#wire/limits.ts";

let hour: FirstHour;
let evil: DemoPki;

beforeAll(async () => {
  hour = await FirstHour.make();
  evil = await makeDemoPki(hour.at("evil"));
  await hour.setup();
  await hour.startServer();
}, 600_000);
afterAll(async () => {
  await hour.remove();
});

const first = ({ exitCode, stderr }: RunResult): [number, string] => [exitCode, stderr.split("\n")[0] ?? ""];
const left = (name: string): string[] => (fs.existsSync(hour.at(name)) ? fs.readdirSync(hour.at(name)) : []);

interface Between {
  readonly listener: TlsListener;
  /** Types of frames that came, and bytes of connections that could not be read. */
  readonly heard: string[];
}

/** Whoever stands between answers with a CA certificate of his choice, on a certificate of his own. */
function standBetween(authority: Uint8Array): Between {
  const heard: string[] = [];
  const text = (file: string): string => fs.readFileSync(file, "utf8");
  const listener = listenTls({
    address: { host: "127.0.0.1", port: 0 },
    identity: { caPem: text(evil.caPath), certPem: text(evil.server.certPath), keyPem: text(evil.server.keyPath) },
    ...{ protocol: ENROLL_ALPN_PROTOCOL, peers: "anybody", handshakeTimeoutMs: 10_000, clock: systemClock },
    log: memoryLogger(),
    accept: (connection) => {
      const decoder = new FrameDecoder({
        state: "server/enroll",
        handlers: {
          message: ({ type }) => {
            heard.push(type);
            connection.write(encodeMessage("authority", { certificate: authority }));
            connection.end();
          },
          dataStart: () => undefined,
          dataBytes: () => undefined,
          dataEnd: () => undefined,
        },
      });
      connection.attach({ data: (bytes) => decoder.push(bytes), drain: () => undefined, closed: () => undefined });
    },
  });
  return { listener, heard };
}

test("the port for agents is told from that of enrolment, and the other way round", async () => {
  const { token } = await hour.token("mixed");
  const enrolled = await hour.enroll("mixed", token, { where: `127.0.0.1:${hour.port}` });
  expect(first(enrolled)).toEqual([
    1,
    `E_TLS: 127.0.0.1:${hour.port} is the port for agents that are enrolled already`,
  ]);
  expect(enrolled.stderr).toContain("server.enroll_listen, usually 9846");
  expect((await hour.enroll("mixed", token)).exitCode).toBe(0);
  await hour.token("other");
  const config = hour.agentConfig("mixed");
  const yaml = fs.readFileSync(config, "utf8");
  fs.writeFileSync(config, yaml.replace(`127.0.0.1:${hour.port}`, `127.0.0.1:${hour.enrollPort}`));
  const backup = await hour.agent("mixed", "--once");
  expect(backup.stderr).toContain("it does not speak the protocol of nbackup");
  expect(backup.stderr).toContain("usually 9846, is only for nbackup-agent enroll");
}, 60_000);

test("who stands between with a CA of his own is found out, and hears nothing but the first question", async () => {
  const { token } = await hour.token("web-01");
  const { listener, heard } = standBetween(new X509Certificate(fs.readFileSync(evil.caPath)).raw);
  try {
    const result = await hour.enroll("a", token, { where: `127.0.0.1:${listener.port}` });
    expect(first(result)).toEqual([
      1,
      expect.stringMatching(/^E_ENROLL_SERVER: the server's CA is not the one that the token names/),
    ]);
    expect(result.stderr).toContain("do not go on");
    expect([heard, left("a")]).toEqual([["askAuthority"], []]);
  } finally {
    listener.stop();
  }
}, 60_000);

test("who stands between and shows the right CA cannot prove it, and never gets the token", async () => {
  const { token } = await hour.token("web-01");
  const { listener, heard } = standBetween(
    new X509Certificate(fs.readFileSync(hour.at("server", "pki", "ca.pem"))).raw,
  );
  try {
    const result = await hour.enroll("b", token, { where: `127.0.0.1:${listener.port}` });
    expect(first(result)).toEqual([
      1,
      expect.stringMatching(/^E_ENROLL_SERVER: the server 127\.0\.0\.1:\d+ cannot prove/),
    ]);
    expect([heard, left("b")]).toEqual([["askAuthority"], []]);
  } finally {
    listener.stop();
  }
}, 60_000);

test("an agent's certificate of the same CA is not enough to pass for the server", async () => {
  const { token } = await hour.token("web-01");
  const enrolled = await hour.enroll("thief", (await hour.token("thief")).token);
  expect(enrolled.exitCode).toBe(0);
  const text = (name: string): string => fs.readFileSync(hour.at("thief", name), "utf8");
  const authority = new X509Certificate(text("ca.pem")).raw;
  const listener = listenTls({
    address: { host: "127.0.0.1", port: 0 },
    identity: { caPem: text("ca.pem"), certPem: text("agent.pem"), keyPem: text("agent-key.pem") },
    ...{ protocol: ENROLL_ALPN_PROTOCOL, peers: "anybody", handshakeTimeoutMs: 10_000, clock: systemClock },
    log: memoryLogger(),
    accept: (connection) => {
      connection.attach({
        data: () => {
          connection.write(encodeMessage("authority", { certificate: authority }));
          connection.end();
        },
        drain: () => undefined,
        closed: () => undefined,
      });
    },
  });
  try {
    const result = await hour.enroll("c", token, { where: `127.0.0.1:${listener.port}` });
    expect(first(result)).toEqual([1, expect.stringMatching(/^E_TLS: .*INVALID_PURPOSE/)]);
    expect(left("c")).toEqual([]);
  } finally {
    listener.stop();
  }
}, 60_000);

test("a server whose certificate does not name the host is refused", async () => {
  const { token } = await hour.token("web-01");
  const result = await hour.enroll("d", token, { where: `[::ffff:127.0.0.1]:${hour.enrollPort}` });
  expect(first(result)).toEqual([1, expect.stringMatching(/^E_TLS: .* does not name ::ffff:127\.0\.0\.1/)]);
  expect(left("d")).toEqual([]);
}, 60_000);

test("a token of another server, an expired one and a mistyped one are told apart", async () => {
  const foreign = tokenText(newToken("ab".repeat(32), systemRandom));
  expect(first(await hour.enroll("e", foreign))).toEqual([1, expect.stringMatching(/^E_ENROLL_SERVER: /)]);
  const { token } = await hour.token("old-01");
  await hour.stopServer();
  const file = hour.at("server", "nbackup-state", "enroll-tokens.json");
  const kept = JSON.parse(fs.readFileSync(file, "utf8")) as { tokens: Record<string, unknown>[] };
  for (const one of kept.tokens) if (one["agent"] === "old-01") one["expiresWallMs"] = Date.now() - 1000;
  fs.writeFileSync(file, JSON.stringify(kept));
  const server = await hour.startServer();
  await server.printed(/the enrolment port is open/);
  expect(first(await hour.enroll("e", token))).toEqual([
    1,
    expect.stringMatching(/^E_ENROLL_TOKEN: the token expired at /),
  ]);
  const wrong = `${token.slice(0, -1)}${token.endsWith("a") ? "b" : "a"}`;
  const mistyped = await hour.enroll("e", wrong);
  expect(first(mistyped)).toEqual([2, expect.stringMatching(/^E_USAGE: this is not an enrolment token/)]);
  expect(mistyped.stderr).not.toContain(wrong);
  expect(left("e")).toEqual([]);
}, 60_000);

test("guesses are refused a few times and then not looked at, and the state directory holds no token", async () => {
  const { token } = await hour.token("web-01");
  const { caFingerprint } = parseToken(token);
  const codes: string[] = [];
  for (let count = 0; count < 6; count++) {
    const { stderr } = await hour.enroll("f", tokenText(newToken(caFingerprint, systemRandom)));
    codes.push(stderr.split(":")[0] ?? "");
  }
  // One wrong token came before, in the test of the expired one.
  expect(codes).toEqual([...Array<string>(4).fill("E_ENROLL_TOKEN"), "E_LIMIT", "E_LIMIT"]);
  const secret = Buffer.from(parseToken(token).secret);
  for (const name of fs.readdirSync(hour.at("server", "nbackup-state"), { recursive: true }) as string[]) {
    const where = hour.at("server", "nbackup-state", name);
    if (!fs.statSync(where).isFile()) continue;
    const held = fs.readFileSync(where);
    expect([name, held.includes(token), held.includes(secret), held.includes(secret.toString("hex"))]).toEqual([
      name,
      false,
      false,
      false,
    ]);
  }
}, 60_000);

test("no token is made while another program has the port, and the server goes on", async () => {
  const other = await FirstHour.make();
  const squatter = Bun.listen({ hostname: "127.0.0.1", port: other.enrollPort, socket: { data: () => undefined } });
  try {
    await other.setup();
    await other.startServer();
    const { exitCode, stderr } = await other.server("pki", "enroll-token", "web-01");
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/^E_LISTEN: .*\nHINT: Check server\.enroll_listen/)]);
    squatter.stop(true);
    expect((await other.enroll("web", (await other.token("web-01")).token)).exitCode).toBe(0);
  } finally {
    squatter.stop(true);
    await other.remove();
  }
}, 60_000);

test("a server without the CA's key makes no token and never opens the port", async () => {
  const other = await FirstHour.make();
  try {
    expect((await other.setup(["--no-enroll"])).exitCode).toBe(0);
    const server = await other.startServer();
    const { exitCode, stderr } = await other.server("pki", "enroll-token", "web-01");
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringContaining("E_ENROLL_OFF: this server issues no certificates: tls.ca_key is not set"),
    ]);
    expect(server.output).not.toContain("enrolment port");
  } finally {
    await other.remove();
  }
}, 60_000);

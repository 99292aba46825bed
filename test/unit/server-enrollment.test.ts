/** Enrolments against a server in memory: who gets a certificate, who does not, and what crashes and thieves can do. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fetchAuthority } from "#agent/enroll.ts";
import { Failure } from "#base/errors.ts";
import { systemRandom } from "#bin/system.ts";
import { newToken, parseToken, tokenText } from "#pki/enroll-token.ts";
import { makeRequest, newAgentKey } from "#pki/request.ts";
import { revocationTime } from "#pki/revocations.ts";
import { ENROLL_NETWORK_CONNECTIONS_MAX } from "#server/limits.ts";
import { EnrollWorld, fingerprintOf, outcome, STATE_DIR } from "#test/support/enroll-kit.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";

const HOUR_MS = 3_600_000;

let root: string;
let pki: DemoPki;
let other: DemoPki;
const worlds: EnrollWorld[] = [];

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-enrollment-"));
  pki = await makeDemoPki(path.join(root, "pki"), { serverHosts: ["localhost", "backup.example.org", "127.0.0.1"] });
  other = await makeDemoPki(path.join(root, "other"));
});
afterEach(() => {
  for (const world of worlds.splice(0)) world.stop();
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

async function start(off?: Failure): Promise<EnrollWorld> {
  const world = await EnrollWorld.start(off === undefined ? { pki } : { pki, off });
  worlds.push(world);
  return world;
}

async function restart(world: EnrollWorld): Promise<EnrollWorld> {
  const next = await world.restart();
  worlds.push(next);
  return next;
}

const CONFIG = { host: "0.0.0.0", port: 9846 };

describe("a token", () => {
  test("gives one machine the certificate of its own key, the CAs, the port and the storages, and is used up", async () => {
    const w = await start();
    const { token, server, agent } = await w.enrollment.makeToken("web-01", false);
    expect([agent, server]).toEqual(["web-01", "backup.example.org:9846"]);
    const key = newAgentKey();
    const answer = await w.enroll(token, key);
    expect(new X509Certificate(answer.certificate).checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(answer).toMatchObject({ port: 9847, storages: ["main", "slow"], authorities: w.settings.caPem });
    expect(w.register.live("web-01")?.fingerprint).toBe(fingerprintOf(answer));
    expect(w.kinds()).toEqual(["enroll.token-made", "certificate.issued", "enroll.done"]);
    expect(w.accept).toBeUndefined();
  });

  test("is open only while it is good: the port closes when it was used or has expired", async () => {
    const w = await start();
    expect(w.enrollment.port).toBeUndefined();
    await w.enrollment.makeToken("web-01", false);
    expect(w.enrollment.port).toBe(CONFIG.port);
    w.clock.aheadMs = HOUR_MS;
    w.clock.expire();
    expect(w.enrollment.port).toBeUndefined();
  });

  test("is refused when it is used, expired, withdrawn or unknown, each in its words", async () => {
    const w = await start();
    const [used, old, newer] = [
      await w.enrollment.makeToken("web-01", false),
      await w.enrollment.makeToken("db-01", false),
      await w.enrollment.makeToken("db-01", false),
    ];
    await w.enroll(used.token);
    const show = (text: string, address: string): Promise<string> =>
      outcome(w.client(address).enroll(parseToken(text).secret, "nbackup-agent 0.1.0"));
    expect(await show(used.token, "192.0.2.1")).toBe("E_ENROLL_TOKEN: the token was used already");
    expect(await show(old.token, "192.0.2.2")).toBe("E_ENROLL_TOKEN: a newer token was made for the same agent");
    const stranger = newToken("00".repeat(32), systemRandom);
    expect(await show(tokenText(stranger), "192.0.2.3")).toBe("E_ENROLL_TOKEN: this server does not know the token");
    w.clock.aheadMs = HOUR_MS;
    expect(await show(newer.token, "192.0.2.4")).toMatch(/^E_ENROLL_TOKEN: the token expired at 2/);
    expect(w.kinds().filter((kind) => kind === "enroll.refused")).toHaveLength(4);
  });

  test("is not kept by the server, and in no event or log line", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    await w.enroll(token);
    const file = await w.disk.open(`${STATE_DIR}/enroll-tokens.json`, "read");
    const bytes = Buffer.alloc(await file.size());
    await file.read(bytes, 0);
    await file.close();
    const secret = Buffer.from(parseToken(token).secret);
    const told = JSON.stringify([w.events, w.log.lines]) + bytes.toString("utf8");
    for (const shown of [token, token.slice(4, 30), secret.toString("hex"), secret.toString("base64")]) {
      expect(told).not.toContain(shown);
    }
    expect(told).toContain("web-01");
  });

  test("outlives a restart of the server, and the port is open again", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const again = await restart(w);
    expect(again.enrollment.port).toBe(CONFIG.port);
    await again.enroll(token);
    const third = await restart(again);
    expect(third.enrollment.port).toBeUndefined();
    expect(third.register.live("web-01")).toBeDefined();
  });

  test("is not good for ever when the server's clock is set back", async () => {
    const w = await start();
    await w.enrollment.makeToken("web-01", false);
    w.clock.aheadMs = -30 * 24 * HOUR_MS;
    expect(w.tokens.goodForMs).toBeUndefined();
  });

  test("is of no use with another machine's key, from the first request on", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const [thief, owner] = [w.client("192.0.2.66"), w.client("192.0.2.7")];
    const { secret } = parseToken(token);
    await thief.enroll(secret, "");
    await owner.enroll(secret, "");
    const results = await Promise.all([
      outcome(thief.certify(makeRequest("web-01", newAgentKey()))),
      outcome(owner.certify(makeRequest("web-01", newAgentKey()))),
    ]);
    expect(results).toEqual([
      "done",
      "E_ENROLL_TOKEN: another machine has asked with this token for the certificate of web-01",
    ]);
    expect(w.kinds().filter((kind) => kind === "certificate.issued")).toHaveLength(1);
  });

  test("gives the same certificate again to the same key when the answer was lost, over a restart too", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const key = newAgentKey();
    const ask = async (world: EnrollWorld): Promise<string> => {
      const client = world.client();
      await client.enroll(parseToken(token).secret, "");
      return fingerprintOf(await client.certify(makeRequest("web-01", key)));
    };
    const first = await ask(w);
    expect(await ask(w)).toBe(first);
    const again = await restart(w);
    expect(await ask(again)).toBe(first);
    const done = await again.enroll(token, key);
    expect(fingerprintOf(done)).toBe(first);
    expect(again.enrollment.port).toBeUndefined();
  });

  test("is refused a request for another name, one that is no request, and another certificate's fingerprint", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const { secret } = parseToken(token);
    const certify = async (request: Uint8Array): Promise<string> => {
      const client = w.client();
      await client.enroll(secret, "");
      return await outcome(client.certify(request));
    };
    expect(await certify(makeRequest("db-01", newAgentKey()))).toStartWith("E_REQUEST: ");
    expect(await certify(Uint8Array.of(0x30, 0x00))).toStartWith("E_REQUEST: ");
    const client = w.client();
    await client.enroll(secret, "");
    await client.certify(makeRequest("web-01", newAgentKey()));
    expect(await outcome(client.installed("00".repeat(32)))).toStartWith("E_PROTOCOL");
    expect(w.tokens.goodForMs).toBeDefined();
  });
});

describe("a name", () => {
  test("with a live certificate needs --replace, and then the older ones are revoked when the new one was delivered", async () => {
    const w = await start();
    const first = await w.enroll((await w.enrollment.makeToken("web-01", false)).token);
    expect(await outcome(w.enrollment.makeToken("web-01", false))).toStartWith(
      "E_ENROLL_LIVE: web-01 has a certificate",
    );
    const { token } = await w.enrollment.makeToken("web-01", true);
    expect(w.revocations.beforeMs("web-01")).toBeUndefined();
    const key = newAgentKey();
    const client = w.client();
    await client.enroll(parseToken(token).secret, "");
    const answer = await client.certify(makeRequest("web-01", key));
    expect(w.revocations.beforeMs("web-01")).toBeUndefined();
    await client.installed(fingerprintOf(answer));
    const beforeMs = w.revocations.beforeMs("web-01") ?? 0;
    const begins = (pem: string): number => Date.parse(new X509Certificate(pem).validFrom);
    expect(begins(first.certificate)).toBeLessThanOrEqual(beforeMs);
    expect(begins(answer.certificate)).toBeGreaterThan(beforeMs);
    expect(begins(answer.certificate)).toBeLessThanOrEqual(w.clock.wall());
    expect(w.register.live("web-01")?.fingerprint).toBe(fingerprintOf(answer));
  });

  test("whose certificate was made while the server's clock was ahead has it revoked by --replace all the same", async () => {
    const w = await start();
    w.clock.aheadMs = 400 * 24 * HOUR_MS;
    const early = await w.enroll((await w.enrollment.makeToken("web-01", false)).token);
    w.clock.aheadMs = 0;
    const now = await w.enroll((await w.enrollment.makeToken("web-01", true)).token);
    const verdictOn = (answer: typeof early): boolean => {
      const notBeforeMs = Date.parse(new X509Certificate(answer.certificate).validFrom);
      return w.revocations.isRevoked("web-01", { notBeforeMs, fingerprint: fingerprintOf(answer) });
    };
    expect([verdictOn(early), verdictOn(now)]).toEqual([true, false]);
  });

  test("that came alive after its token was made is refused its certificate", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const nowMs = w.clock.wall();
    const seen = { fingerprint: "11".repeat(32), serial: "1", notBeforeMs: nowMs - 1000, notAfterMs: nowMs + HOUR_MS };
    w.register.seen("web-01", seen);
    const client = w.client();
    await client.enroll(parseToken(token).secret, "");
    expect(await outcome(client.certify(makeRequest("web-01", newAgentKey())))).toStartWith("E_ENROLL_LIVE");
  });

  test("that is revoked takes its tokens with it, whatever step of the enrolment they are at", async () => {
    const w = await start();
    const shown = await w.enrollment.makeToken("web-01", false);
    const issued = await w.enrollment.makeToken("web-02", false);
    const { secret } = parseToken(issued.token);
    const [early, late] = [w.client(), w.client("192.0.2.8")];
    await early.enroll(parseToken(shown.token).secret, "");
    await late.enroll(secret, "");
    const key = newAgentKey();
    const answer = await late.certify(makeRequest("web-02", key));
    for (const agent of ["web-01", "web-02"]) await w.revocations.add(agent, revocationTime(w.clock.wall(), undefined));
    const revoked = (agent: string): string => `E_REVOKED: agent ${agent} was revoked after the token was made`;
    expect(await outcome(early.certify(makeRequest("web-01", newAgentKey())))).toBe(revoked("web-01"));
    expect(await outcome(late.installed(fingerprintOf(answer)))).toBe(revoked("web-02"));
    expect(await outcome(w.client().enroll(parseToken(shown.token).secret, ""))).toBe(revoked("web-01"));
    expect(w.tokens.goodForMs).toBeUndefined();
    w.clock.aheadMs = 1000;
    await w.enroll((await w.enrollment.makeToken("web-01", false)).token);
  });

  test("that no agent may have gets no token", async () => {
    const w = await start();
    for (const name of ["", "../x", "a b", "server", "web-key", "backup.example.org", "n".repeat(65), "wéb"]) {
      expect([name, await outcome(w.enrollment.makeToken(name, true))]).toEqual([
        name,
        expect.stringMatching(/^E_NAME/),
      ]);
    }
    expect(w.enrollment.port).toBeUndefined();
  });
});

describe("a server", () => {
  test("that may not issue certificates makes no tokens and opens no port, and says why", async () => {
    const w = await start(new Failure("E_ENROLL_OFF", "this server issues no certificates: tls.ca_key is not set"));
    expect(await outcome(w.enrollment.makeToken("web-01", false))).toContain("tls.ca_key is not set");
    expect(w.enrollment.port).toBeUndefined();
  });

  test("goes by a reload: without the CA's key the port closes, with it again a token is still good", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const off = new Failure("E_ENROLL_OFF", "this server issues no certificates: tls.ca_key is not set");
    w.enrollment.use({ ...w.settings, issuer: off });
    expect(w.enrollment.port).toBeUndefined();
    w.enrollment.use({ ...w.settings, address: { host: "::", port: 9999 } });
    expect(w.enrollment.port).toBe(9999);
    await w.enroll(token);
    expect(w.enrollment.port).toBeUndefined();
  });

  test("keeps its port open through a reload that does not move it, and closes nobody's connection", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const client = w.client();
    await client.enroll(parseToken(token).secret, "");
    w.enrollment.use({ ...w.settings, dataPort: 9999 });
    expect([w.opened, w.enrollment.port]).toEqual([1, CONFIG.port]);
    expect(JSON.stringify(w.log.lines)).not.toContain("port is closed");
    const answer = await client.certify(makeRequest("web-01", newAgentKey()));
    expect(answer.port).toBe(9999);
    await client.installed(fingerprintOf(answer));
    expect(w.enrollment.port).toBeUndefined();
  });

  test("whose port is taken makes no token", async () => {
    const w = await start();
    w.listenFailure = new Failure(
      "E_LISTEN",
      "cannot listen on 0.0.0.0:9846: another program has the port (EADDRINUSE)",
    );
    expect(await outcome(w.enrollment.makeToken("web-01", false))).toStartWith("E_LISTEN");
    expect(w.tokens.goodForMs).toBeUndefined();
  });

  test("whose disk takes nothing gives no certificate, however often it is asked", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    w.disk.hook = ({ call }) => {
      if (call === "create") throw Object.assign(new Error("no space"), { code: "ENOSPC" });
      return undefined;
    };
    const ask = async (): Promise<string> => {
      const client = w.client();
      await client.enroll(parseToken(token).secret, "");
      return await outcome(client.certify(makeRequest("web-01", newAgentKey())));
    };
    expect(await ask()).toStartWith("E_STATE_DIR");
    expect(await ask()).toStartWith("E_STATE_DIR");
    w.disk.hook = () => undefined;
    expect(await ask()).toBe("done");
  });

  test("whose disk takes nothing makes no token, and closes the port again", async () => {
    const w = await start();
    w.disk.hook = ({ call }) => {
      if (call === "create") throw Object.assign(new Error("no space"), { code: "ENOSPC" });
      return undefined;
    };
    expect(await outcome(w.enrollment.makeToken("web-01", false))).toStartWith("E_STATE_DIR");
    expect(w.enrollment.port).toBeUndefined();
  });

  test("of another CA than the token's is found out before anything is said to it", async () => {
    const w = await start();
    await w.enrollment.makeToken("web-01", false);
    const foreign = newToken(
      new X509Certificate(fs.readFileSync(other.caPath)).fingerprint256.replaceAll(":", "").toLowerCase(),
      systemRandom,
    );
    expect(await outcome(fetchAuthority(w.connect(), foreign, w.clock))).toStartWith(
      "E_ENROLL_SERVER: the server's CA is not the one that the token names",
    );
    expect(w.kinds()).toEqual(["enroll.token-made"]);
  });

  test("answers a few wrong tokens of an address and then none for a while, and others all the same", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const wrong = (): Promise<string> => outcome(w.client("192.0.2.66").enroll(systemRandom.bytes(16), ""));
    for (let count = 0; count < 5; count++) expect(await wrong()).toStartWith("E_ENROLL_TOKEN");
    expect(await wrong()).toBe("E_LIMIT: too many wrong tokens came from this address");
    expect(await outcome(w.client("192.0.2.66").enroll(parseToken(token).secret, ""))).toStartWith("E_LIMIT");
    expect(await outcome(w.client("192.0.2.7").enroll(parseToken(token).secret, ""))).toBe("done");
  });

  test("keeps a place for who has a token when strangers flood the port from its address", async () => {
    const w = await start();
    const { token } = await w.enrollment.makeToken("web-01", false);
    const owner = w.client();
    await owner.enroll(parseToken(token).secret, "");
    const { promise: turnedAway, resolve } = Promise.withResolvers<void>();
    let closed = 0;
    const onClosed = (): void => {
      closed += 1;
      if (closed === 2 * ENROLL_NETWORK_CONNECTIONS_MAX) resolve();
    };
    for (let count = 0; count < 3 * ENROLL_NETWORK_CONNECTIONS_MAX; count++) {
      w.connect().attach({ data: () => undefined, drain: () => undefined, closed: onClosed });
    }
    expect(await outcome(owner.certify(makeRequest("web-01", newAgentKey())))).toBe("done");
    await turnedAway;
  });

  test("closes who says nothing, and takes no frame of the other port", async () => {
    const w = await start();
    await w.enrollment.makeToken("web-01", false);
    const silent = Promise.withResolvers<void>();
    w.connect().attach({ data: () => undefined, drain: () => undefined, closed: () => silent.resolve() });
    w.clock.expire();
    await silent.promise;
    expect(w.events.at(-1)).toMatchObject({ kind: "enroll.refused", fields: { code: "E_TIMEOUT" } });
  });
});

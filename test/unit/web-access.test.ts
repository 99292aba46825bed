/** Who may ask what of the page, rule by rule and in their order. */
import { describe, expect, test } from "bun:test";
import { gunzipSync } from "node:zlib";
import { eventRecord, PageKit, PASSWORD } from "#test/support/page-kit.ts";
import { AddressList, attemptKey, clientAddress, isHostKnown, plainAddress } from "#web/addresses.ts";

describe("a list of addresses", () => {
  const list = new AddressList(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::1", "::ffff:203.0.113.0/120"]);
  const cases: readonly (readonly [string, boolean])[] = [
    ["192.0.2.255", true],
    ["192.0.3.0", false],
    ["198.51.100.7", true],
    ["198.51.100.8", false],
    ["2001:db8:1::1", true],
    ["2001:db9::1", false],
    ["::1", true],
    ["::ffff:192.0.2.4", true],
    ["::ffff:c000:0204", true],
    ["::ffff:192.0.3.4", false],
    ["203.0.113.9", true],
    ["203.0.114.9", false],
    ["fe80::1%eth0", false],
    ["", false],
    ["nonsense", false],
  ];
  for (const [address, known] of cases) {
    test(`${known ? "has" : "has not"} ${address === "" ? "what is no address" : address}`, () => {
      expect(list.has(address)).toBe(known);
    });
  }

  test("of the whole of IPv6 has IPv4 only as itself", () => {
    expect(new AddressList(["::/0"]).has("2001:db8::1")).toBe(true);
    expect(new AddressList(["0.0.0.0/0"]).has("::ffff:192.0.2.1")).toBe(true);
    expect(plainAddress("::FFFF:192.0.2.1")).toBe("192.0.2.1");
  });
});

describe("the address of who asks", () => {
  const proxies = new AddressList(["10.0.0.0/8"]);
  test("is the peer's, whatever X-Forwarded-For says, unless the peer is a trusted proxy", () => {
    expect(clientAddress("192.0.2.1", "198.51.100.1", proxies)).toBe("192.0.2.1");
    expect(clientAddress("10.0.0.1", "198.51.100.1", proxies)).toBe("198.51.100.1");
    expect(clientAddress("::ffff:10.0.0.1", "[2001:db8::1]:4711", proxies)).toBe("2001:db8::1");
    expect(clientAddress("10.0.0.1", undefined, proxies)).toBe("10.0.0.1");
  });

  test("is the last one that is no trusted proxy: what stands before it anybody may have written", () => {
    expect(clientAddress("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", proxies)).toBe("198.51.100.1");
    expect(clientAddress("10.0.0.1", "unknown", proxies)).toBe("");
    expect(clientAddress("10.0.0.1", "192.0.2.66, , 10.0.0.2", proxies)).toBe("");
  });

  test("counts attempts by the network of an IPv6 address", () => {
    expect(attemptKey("2001:db8:1:2:3::4")).toBe(attemptKey("2001:0db8:1:2::9"));
    expect(attemptKey("2001:db8:1:3::1")).not.toBe(attemptKey("2001:db8:1:2::1"));
    expect(attemptKey("::ffff:192.0.2.1")).toBe("192.0.2.1");
  });
});

describe("the Host header", () => {
  const names = ["backup.example.org", "*.internal.example"];
  const cases: readonly (readonly [string | undefined, boolean])[] = [
    ["192.0.2.1:9848", true],
    ["[::1]:9848", true],
    ["localhost", true],
    ["Backup.Example.ORG:443", true],
    ["a.internal.example", true],
    ["b.a.internal.example", false],
    ["internal.example", false],
    ["evil.example", false],
    ["backup.example.org.evil.example", false],
    ["", false],
    [undefined, false],
  ];
  for (const [header, known] of cases) {
    test(`${header === undefined ? "that is missing" : `"${header}"`} is ${known ? "known" : "refused"}`, () => {
      expect(isHostKnown(header, names)).toBe(known);
    });
  }
});

describe("the page", () => {
  test("refuses an address that may not look before it looks at anything else", async () => {
    const kit = new PageKit({ password: true });
    for (const target of ["/", "/metrics", "/api/v1/health", "/api/v1/nonsense"]) {
      const headers = { host: "evil.example", "x-forwarded-for": "192.0.2.7" };
      expect((await kit.ask(target, { peer: "198.51.100.1", method: "DELETE", headers })).status).toBe(403);
    }
    expect(kit.refused).toEqual(Array.from({ length: 4 }, () => "198.51.100.1"));
    expect(kit.checks).toBe(0);
  });

  test("takes the address behind a trusted proxy", async () => {
    const kit = new PageKit({ access: { trustedProxies: ["10.0.0.1"] } });
    const behind = (address: string): Record<string, string> => ({ "x-forwarded-for": address });
    expect((await kit.ask("/api/v1/health", { peer: "10.0.0.1", headers: behind("192.0.2.9") })).status).toBe(200);
    expect((await kit.ask("/api/v1/health", { peer: "10.0.0.1", headers: behind("198.51.100.9") })).status).toBe(403);
    expect((await kit.ask("/api/v1/health", { peer: "10.0.0.1" })).status).toBe(403);
  });

  test("refuses a name that is not known, other methods, long addresses and pages of other sites", async () => {
    const kit = new PageKit();
    const status = async (...args: Parameters<PageKit["ask"]>): Promise<number> => (await kit.ask(...args)).status;
    expect(await status("/api/v1/health", { headers: { host: "evil.example" } })).toBe(403);
    expect(await status("/api/v1/health", { method: "POST" })).toBe(405);
    expect(await status("/api/v1/logout")).toBe(405);
    expect(await status(`/api/v1/events?text=${"x".repeat(17_000)}`)).toBe(414);
    expect(await status(`/api/v1/events?${Array.from({ length: 40 }, (_, i) => `a${i}=1`).join("&")}`)).toBe(400);
    expect(await status("/api/v1/events", { headers: { "sec-fetch-site": "cross-site" } })).toBe(403);
    expect(await status("/api/v1/events", { headers: { "sec-fetch-site": "same-origin" } })).toBe(200);
    expect(await status("/api/v1/events", { headers: { "sec-fetch-site": "none" } })).toBe(200);
    expect(await status("/api/v1/login", { method: "POST", headers: { origin: "http://evil.example" } })).toBe(403);
  });

  test("sends headers with every answer that let no script in, nor a frame, nor a guess at the type", async () => {
    const kit = new PageKit({ page: () => ({ ...FILE }) });
    for (const target of ["/", "/api/v1/health", "/api/v1/nonsense", "/metrics"]) {
      const { headers } = await kit.ask(target);
      expect(headers["content-security-policy"]).toContain("script-src 'self';");
      expect(headers["content-security-policy"]).not.toContain("unsafe");
      expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "x-frame-options": "DENY" });
    }
  });

  test("gives its files smaller to who takes them so", async () => {
    const kit = new PageKit({ page: (path) => (path === "/" ? FILE : undefined) });
    expect((await kit.ask("/")).body).toBe(FILE.body);
    const small = await kit.ask("/", { headers: { "accept-encoding": "br, gzip" } });
    expect([small.headers["content-encoding"], small.body]).toEqual(["gzip", FILE.gzip]);
    for (const not of ["gzip;q=0", "br, gzip; q=0.0, *", "gzipped", ""]) {
      expect([not, (await kit.ask("/", { headers: { "accept-encoding": not } })).body]).toEqual([not, FILE.body]);
    }
    expect((await kit.ask("/", { headers: { "accept-encoding": "gzip;q=0.5" } })).body).toBe(FILE.gzip);
    expect((await kit.ask("/other")).status).toBe(404);
  });
});

test("long answers come smaller to who takes them so", async () => {
  const kit = new PageKit();
  for (let i = 0; i < 100; i += 1) kit.events.add(eventRecord({ message: `é ${i}` }));
  const headers = { "accept-encoding": "gzip, br" };
  const plain = await kit.ask("/api/v1/events?limit=500");
  const small = await kit.ask("/api/v1/events?limit=500", { headers });
  expect(small.headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding" });
  expect([plain.headers["content-encoding"], plain.headers["vary"]]).toEqual([undefined, "accept-encoding"]);
  if (!(small.body instanceof Uint8Array)) throw new Error("not compressed");
  expect(small.body.length * 5).toBeLessThan(String(plain.body).length);
  expect(gunzipSync(small.body).toString("utf8")).toBe(String(plain.body));
  expect((await kit.ask("/api/v1/events?limit=1", { headers })).headers["content-encoding"]).toBeUndefined();
});

const FILE = { body: new Uint8Array([1, 2]), gzip: new Uint8Array([3]), contentType: "text/html" };

describe("a password", () => {
  const GUARDED = ["/api/v1/overview", "/api/v1/sessions", "/api/v1/stream", "/api/v1/config/effective", "/metrics"];

  test("is wanted for everything but health, access, login and the page's own files", async () => {
    const kit = new PageKit({ password: true, page: () => FILE });
    for (const target of GUARDED) expect([target, (await kit.ask(target)).status]).toEqual([target, 401]);
    for (const target of ["/", "/api/v1/health", "/api/v1/access"]) expect((await kit.ask(target)).status).toBe(200);
    expect((await kit.ask("/metrics")).headers["www-authenticate"]).toStartWith("Basic ");
    expect((await kit.ask("/api/v1/overview")).headers["www-authenticate"]).toBeUndefined();
  });

  test("that is right gives a cookie, which opens everything until logout, or half a day without use", async () => {
    const kit = new PageKit({ password: true });
    const login = await kit.login(PASSWORD);
    expect(login.status).toBe(204);
    const cookie = login.headers["set-cookie"] ?? "";
    expect(cookie).toMatch(/^nbackup_login=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/);
    // Something else on this host has set one of the same name for a longer path.
    const headers = { cookie: `other=1; nbackup_login=theirs; ${cookie.split(";")[0]}` };
    expect((await kit.ask("/api/v1/overview", { headers })).status).toBe(200);
    expect((await kit.ask("/api/v1/overview", { headers: { cookie: "nbackup_login=guess" } })).status).toBe(401);
    await kit.clock.advance(11 * 3_600_000);
    expect((await kit.ask("/api/v1/overview", { headers })).status).toBe(200);
    await kit.clock.advance(13 * 3_600_000);
    expect((await kit.ask("/api/v1/overview", { headers })).status).toBe(401);
    const again = (await kit.login(PASSWORD)).headers["set-cookie"]?.split(";")[0] ?? "";
    const logout = await kit.ask("/api/v1/logout", { method: "POST", headers: { cookie: again } });
    expect([logout.status, logout.headers["set-cookie"]?.includes("Max-Age=0")]).toEqual([204, true]);
    expect((await kit.ask("/api/v1/overview", { headers: { cookie: again } })).status).toBe(401);
  });

  test("that is wrong is told, and each after the fifth costs its address twice the time, but nobody else's", async () => {
    const kit = new PageKit({ password: true });
    for (let i = 0; i < 5; i += 1) expect((await kit.login(`wrong ${i}`)).status).toBe(401);
    expect(kit.wrong).toHaveLength(5);
    const waits: number[] = [];
    for (let i = 0; i < 12; i += 1) {
      const early = await kit.login(PASSWORD);
      expect(early.status).toBe(429);
      waits.push(Number(early.headers["retry-after"]));
      await kit.clock.advance(Number(early.headers["retry-after"]) * 1000);
      expect((await kit.login("wrong")).status).toBe(401);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    expect((await kit.login(PASSWORD, "192.0.2.8")).status).toBe(204);
    await kit.clock.advance(900_000);
    expect((await kit.login(PASSWORD)).status).toBe(204);
    expect((await kit.login("wrong")).status).toBe(401);
  });

  test("may come with each request as Basic: its hash is computed once", async () => {
    const kit = new PageKit({ password: true });
    const basic = (password: string): { authorization: string } => ({
      authorization: `Basic ${btoa(`me:${password}`)}`,
    });
    for (let i = 0; i < 3; i += 1) {
      expect((await kit.ask("/metrics", { headers: basic(PASSWORD) })).status).toBe(200);
    }
    expect(kit.checks).toBe(1);
    expect((await kit.ask("/metrics", { headers: basic("wrong") })).status).toBe(401);
    expect(kit.wrong).toEqual(["192.0.2.7"]);
    expect((await kit.ask("/metrics", { headers: { authorization: "Bearer x" } })).status).toBe(401);
  });

  test("is not told to who has to wait by an answer that comes at once", async () => {
    const kit = new PageKit({ password: true });
    const basic = (password: string): { headers: { authorization: string } } => ({
      headers: { authorization: `Basic ${btoa(`me:${password}`)}` },
    });
    expect((await kit.ask("/metrics", basic(PASSWORD))).status).toBe(200);
    for (let i = 0; i < 5; i += 1) expect((await kit.ask("/metrics", basic(`wrong ${i}`))).status).toBe(401);
    expect((await kit.ask("/metrics", basic("wrong"))).status).toBe(429);
    expect((await kit.ask("/metrics", basic(PASSWORD))).status).toBe(429);
    expect((await kit.ask("/metrics", { ...basic(PASSWORD), peer: "192.0.2.8" })).status).toBe(200);
  });

  test("is not guessed faster while others leave no room for a look at it", async () => {
    const kit = new PageKit({ password: true, slowChecks: true });
    const others = ["192.0.2.20", "192.0.2.21"].map((peer) => kit.login("wrong", peer));
    while (kit.checks < 2) await Promise.resolve();
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      const headers = { authorization: `Basic ${btoa(`me:guess ${i}`)}` };
      statuses.push((await kit.ask("/metrics", { headers })).status);
    }
    expect(statuses).toEqual([429, 429, 429, 429, 429, 429, 429, 429]);
    kit.letChecks();
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual([401, 401]);
    expect((await kit.login(PASSWORD)).status).toBe(429);
  });

  test("is guessed by all addresses together at most so often, and who knows it gets in meanwhile", async () => {
    const kit = new PageKit({ password: true, access: { allowOrigins: ["0.0.0.0/0"] } });
    expect((await kit.login(PASSWORD, "192.0.2.7")).status).toBe(204);
    const statuses: number[] = [];
    for (let i = 0; i < 600; i += 1) statuses.push((await kit.login("wrong", `10.0.${i >> 8}.${i & 255}`)).status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(500);
    expect(kit.checks).toBe(501);
    expect((await kit.login(PASSWORD, "10.9.9.9")).status).toBe(429);
    expect((await kit.login(PASSWORD, "192.0.2.7")).status).toBe(204);
    await kit.clock.advance(3_600_000);
    expect((await kit.login(PASSWORD, "10.9.9.9")).status).toBe(204);
  });

  test("comes as JSON of a few bytes, or not at all", async () => {
    const kit = new PageKit({ password: true });
    const post = { method: "POST" };
    const asJson = { "content-type": "application/json" };
    const body = (text: string | undefined) => ({ ...post, headers: asJson, body: () => Promise.resolve(text) });
    expect((await kit.ask("/api/v1/login", { ...post, headers: { "content-type": "text/plain" } })).status).toBe(400);
    for (const text of ["", "{}", "[]", "null", '{"password":1}', undefined]) {
      expect((await kit.ask("/api/v1/login", body(text))).status).toBe(400);
    }
    expect((await kit.login("x".repeat(2000))).status).toBe(401);
    expect(kit.checks).toBe(0);
    expect((await new PageKit().login(PASSWORD)).status).toBe(404);
  });
});

describe("a refusal before there is a page", () => {
  const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
  const EVIL = "/<script>\"&'/?q=<img src=x onerror=alert(1)>";
  const refused = [
    { peer: "198.51.100.9", host: "192.0.2.1:9848", says: "This address may not look", pt: "não tem acesso" },
    { peer: "192.0.2.7", host: "evil.example<b>", says: "not known by this name", pt: "não é conhecido" },
  ] as const;

  for (const { peer, host, says, pt } of refused) {
    test(`is a page for who opens one ("${says}"), in both languages, without anything of the request, script or style`, async () => {
      const kit = new PageKit();
      const headers = { host, accept: BROWSER, "accept-language": "<i>", referer: "<u>" };
      const answer = await kit.ask(EVIL, { peer, path: EVIL, headers });
      expect([answer.status, answer.headers["content-type"]]).toEqual([403, "text/html; charset=utf-8"]);
      expect(answer.headers).toMatchObject({
        ...{ vary: "accept", "cache-control": "no-store", "x-content-type-options": "nosniff" },
        "content-security-policy": expect.stringContaining("default-src 'none'"),
      });
      const html = String(answer.body);
      for (const text of [says, pt, '<html lang="en">', 'lang="pt-BR"']) expect(html).toContain(text);
      const tags = new Set([...html.matchAll(/<(\w+)/g)].map(([, tag]) => tag));
      expect([...tags].sort()).toEqual(
        ["body", "code", "div", "h1", "h2", "head", "html", "main", "meta", "p", "title"].sort(),
      );
      expect(html).not.toMatch(/style|onerror|evil|198\.51/);
      const other = await new PageKit().ask("/", { peer, headers: { host, accept: BROWSER } });
      expect(String(other.body)).toBe(html);
      expect(await kit.ask("/", { peer, method: "HEAD", headers })).toEqual(await kit.ask("/", { peer, headers }));
    });

    test(`is JSON for programs ("${says}")`, async () => {
      for (const accept of [{}, { accept: "*/*" }, { accept: "application/json" }]) {
        const { status, headers, body } = await new PageKit().ask("/", { peer, headers: { host, ...accept } });
        expect([status, headers["content-type"]]).toEqual([403, "application/json; charset=utf-8"]);
        expect(JSON.parse(String(body))).toMatchObject({ error: { code: "forbidden" } });
      }
    });
  }

  test("is JSON of the API's own refusals, whoever asks", async () => {
    const { headers } = await new PageKit().ask("/api/v1/nothing", { headers: { accept: BROWSER } });
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
  });
});

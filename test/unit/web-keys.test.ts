/** Who may see the page, from the configuration and its files, and how often it is told that somebody may not. */
import { expect, test } from "bun:test";
import { WebKeys } from "#bin/web-keys.ts";
import type { WebUiConfig } from "#config/types.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { Recorder } from "#observe/recorder.ts";
import { serverOf } from "#test/support/config-fixtures.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import type { WebRequest } from "#web/http.ts";

const webUi: WebUiConfig = serverOf(`
tls: {ca_cert: a, server_cert: b, server_key: c}
storages: {main: {base_dir: /srv/backups, max_backups: 3}}
web_ui: {enabled: true, allow_origins: [192.0.2.1]}
`).config.webUi;

const HASH = await Bun.password.hash("correct horse battery", { algorithm: "argon2id", memoryCost: 8, timeCost: 1 });
const TLS = { cert: "", key: "", notAfterMs: 0, hostNames: ["page.example.org"] };

function request(peer: string, headers: Record<string, string> = {}): WebRequest {
  const target = "/api/v1/overview";
  return {
    ...{ method: "GET", path: target, query: new URLSearchParams(), target, peer },
    header: (name) => ({ host: "page.example.org", ...headers })[name],
    body: () => Promise.resolve(""),
    signal: new AbortController().signal,
  };
}

test("a flood of addresses that may not look leaves room for what else happens among the events", async () => {
  const disk = new MemoryDisk();
  const clock = new SimClock();
  await disk.mkdir("/state", 0o700);
  const kept = (name: string): { path: string; linesMax: number } => ({ path: `/state/${name}`, linesMax: 20_000 });
  const recorder = await Recorder.open({
    ...{ events: kept("events"), history: kept("history"), disk, clock, log: memoryLogger() },
  });
  const { access } = new WebKeys((event) => recorder.emit(event)).rules(webUi, { tls: TLS, passwordHash: undefined });
  for (let minute = 0; minute < 10; minute += 1) {
    for (let i = 0; i < 900; i += 1) {
      await expect(access.admit(request(`10.${minute}.${i >> 8}.${i & 255}`))).rejects.toThrow("may not look");
    }
    await clock.advance(60_000);
  }
  expect(recorder.events.newest(20_000).length).toBeLessThan(1_300);
  await clock.until(recorder.close(), 60_000);
});

test("one subscriber's IPv6 addresses are one stranger", async () => {
  const events: ObservedEvent[] = [];
  const { access } = new WebKeys((event) => void events.push(event)).rules(webUi, {
    tls: TLS,
    passwordHash: undefined,
  });
  for (const peer of ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1"]) {
    await access.admit(request(peer)).catch(() => undefined);
  }
  expect(events.map(({ fields }) => fields["address"])).toEqual([
    "2001:db8:1:2::1",
    "2001:db8:1:2::2",
    "2001:db8:1:3::1",
  ]);
  expect(new Set(events.map(({ repeatKey }) => repeatKey)).size).toBe(2);
});

test("logins outlive a reload, and neither another password nor a page that comes to be in the clear", async () => {
  const keys = new WebKeys(() => undefined);
  const first = keys.rules(webUi, { tls: TLS, passwordHash: HASH });
  const cookie = (await first.passwords?.login("192.0.2.1", "correct horse battery"))?.split(";")[0] ?? "";
  const isIn = (rules: typeof first): Promise<boolean> =>
    rules.access.admit(request("192.0.2.1", { cookie })).then(
      () => true,
      () => false,
    );
  const other = `${HASH.slice(0, -4)}aaaa`;
  expect(await isIn(first)).toBe(true);
  expect(await isIn(keys.rules({ ...webUi, allowDownload: true }, { tls: TLS, passwordHash: HASH }))).toBe(true);
  expect(await isIn(keys.rules(webUi, { tls: TLS, passwordHash: other }))).toBe(false);
  expect(await isIn(keys.rules(webUi, { tls: TLS, passwordHash: HASH }))).toBe(false);
});

/** `--once` and the certificate: renewed when it is due, over a connection of its own that takes no longer than it may. */
import { afterEach, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { type OnceRenewalOptions, renewWhenDue } from "#agent/once-renewal.ts";
import type { Dialer } from "#net/connection.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { Succession } from "#pki/succession.ts";
import { scriptPipe } from "#test/support/script-pipe.ts";
import { RUN, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const DAY_MS = 86_400_000;
const AGENT = "web-1";

let world: ServerWorld | undefined;

afterEach(async () => {
  await world?.close();
  world = undefined;
});

interface Around {
  readonly leftDays?: number;
  readonly server?: WorldOptions;
  readonly dialer?: Dialer;
  readonly options?: Partial<OnceRenewalOptions>;
}

interface Seen {
  readonly installed: string[];
  readonly events: ObservedEvent[];
  readonly heard: (readonly Succession[])[];
  readonly tookMs: number;
  readonly dials: number;
}

async function renew({ leftDays = 10, server, dialer, options }: Around): Promise<Seen> {
  const clock = new SimClock();
  const nowMs = clock.wall();
  const life = (fingerprint: string, left: number) => ({
    ...{ fingerprint: fingerprint.repeat(32), notBeforeMs: nowMs - 80 * DAY_MS, notAfterMs: nowMs + left * DAY_MS },
  });
  const current = life("80", leftDays);
  const issuer = {
    issueAgent: (name: string, request: Uint8Array) => {
      const issued = { ...life("90", 825), name, serial: "1", certPem: `for ${Buffer.from(request).toString()}` };
      return Promise.resolve(issued);
    },
  };
  world = await ServerWorld.start({ clock, issuer: () => issuer, ...server });
  const { server: real } = world;
  const peer = { commonName: AGENT, serial: "0", ...current };
  let dials = 0;
  const dial: Dialer["dial"] = (signal) => {
    dials += 1;
    if (dialer !== undefined) return dialer.dial(signal);
    const pipe = scriptPipe(clock, "192.0.2.9:1", () => peer, { latencyMs: 20 });
    real.accept(pipe.server);
    return Promise.resolve(pipe.client);
  };
  const installed: string[] = [];
  const events: ObservedEvent[] = [];
  const heard: (readonly Succession[])[] = [];
  const begun = clock.now();
  const done = renewWhenDue({
    ...{ clock, current, signal: new AbortController().signal, events: { emit: (event) => void events.push(event) } },
    deps: { clock, dialer: { dial }, identity: { agent: AGENT, software: "nbackup-agent 0.0.0", run: RUN } },
    hasDaemon: () => Promise.resolve(false),
    successors: (successions) => void heard.push(successions),
    prepare: () => undefined,
    makeRequest: () => ({ keyPem: "key", requestDer: Buffer.from("request") }),
    install: (certPem, keyPem) => {
      installed.push(`${certPem}, ${keyPem}`);
      return life("90", 825);
    },
    ...options,
  });
  await clock.until(done, 120_000);
  return { installed, events, heard, dials, tookMs: clock.now() - begun };
}

test("a certificate that is due is renewed, by a connection that says goodbye", async () => {
  const { installed, events } = await renew({});
  expect(installed).toEqual(["for request, key"]);
  expect(events.map(({ kind }) => kind)).toEqual(["certificate.renewed"]);
  await world?.clock.advance(1_000);
  expect(world?.eventsOf("agent.disconnected")).toMatchObject([{ fields: { reason: "goodbye" } }]);
});

test("new CAs are heard of before the certificate comes that one of them may have issued", async () => {
  const succession = { certificate: new Uint8Array(3), signature: new Uint8Array(2) };
  const seen: string[] = [];
  const { installed } = await renew({
    server: { successions: () => [succession] },
    options: { successors: () => void seen.push("heard") },
  });
  expect([seen, installed.length]).toEqual([["heard"], 1]);
});

test("one that is not due, or whose daemon runs, opens no connection, and an interrupted run none either", async () => {
  expect((await renew({ leftDays: 60 })).dials).toBe(0);
  expect((await renew({ options: { hasDaemon: () => Promise.resolve(true) } })).dials).toBe(0);
  expect((await renew({ options: { signal: AbortSignal.abort() } })).dials).toBe(0);
});

test("what keeps it from being renewed is told and nothing else: a warning when less than 30 days are left", async () => {
  const off = { issuer: () => undefined };
  const refused: Dialer = { dial: () => Promise.reject(new Failure("E_CONNECT", "nobody listens there")) };
  const full = (): never => {
    throw new Failure("E_RENEWAL", "/etc/nbackup cannot be written: EROFS");
  };
  for (const [around, code, text] of [
    [{ server: off }, "E_RENEWAL", "the server does not renew certificates"],
    [{ dialer: refused }, "E_CONNECT", "nobody listens there"],
    [{ options: { prepare: full } }, "E_RENEWAL", "EROFS"],
    [{ options: { install: full } }, "E_RENEWAL", "EROFS"],
  ] as const) {
    const { events, installed } = await renew(around);
    expect(events).toMatchObject([{ kind: "certificate.renewal-failed", level: "warn", fields: { code } }]);
    expect([events[0]?.message, installed.length]).toEqual([expect.stringContaining(text), 0]);
    await world?.close();
  }
  const early = await renew({ server: off, leftDays: 31, options: {} });
  expect(early.events.map(({ level }) => level)).toEqual(["info"]);
});

test("one that is given up after half a minute, or interrupted, says goodbye too", async () => {
  const issuer = { issueAgent: (): Promise<never> => new Promise(() => undefined) };
  const stop = new AbortController();
  const interrupting: WorldOptions = {
    issuer: () => ({
      issueAgent: () => {
        stop.abort();
        return issuer.issueAgent();
      },
    }),
  };
  for (const [around, code] of [
    [{ server: { issuer: () => issuer } }, "E_TIMEOUT"],
    [{ server: interrupting, options: { signal: stop.signal } }, undefined],
  ] as const) {
    const { events } = await renew(around);
    expect(events[0]?.fields["code"]).toBe(code);
    await world?.clock.advance(1_000);
    expect(world?.eventsOf("agent.disconnected")).toMatchObject([{ fields: { reason: "goodbye" } }]);
    await world?.close();
  }
});

test("a server that does not answer is waited for half a minute", async () => {
  const never: Dialer = { dial: () => new Promise(() => undefined) };
  const { tookMs, events } = await renew({ dialer: never });
  expect([tookMs, events[0]?.fields["code"]]).toEqual([30_000, "E_TIMEOUT"]);
});

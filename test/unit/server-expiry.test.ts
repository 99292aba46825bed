/** Agents' certificates near their end, as a server in memory sees them at Hello. */
import { afterEach, expect, test } from "bun:test";
import { EXPIRING_AGENTS_MAX } from "#server/limits.ts";
import { PeerExpiry } from "#server/peer-expiry.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { helloOf, ServerWorld } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const DAY_MS = 86_400_000;
let world: ServerWorld | undefined;

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const peerOf = (commonName: string, notAfterMs: number): PeerIdentity => ({
  ...{ commonName, fingerprint: "00".repeat(32), notBeforeMs: 0, notAfterMs, serial: "01" },
});

test("an agent's certificate is told of at Hello 30, 7 and 1 days before its end, once a day, with what mends it", async () => {
  const w = await ServerWorld.start();
  world = w;
  const notAfterMs = w.clock.wall() + 31.5 * DAY_MS;
  const said = async (): Promise<unknown[]> => {
    const { link } = w.connectAs(() => peerOf("web-1", notAfterMs));
    link.send("hello", helloOf({ role: "health" }));
    await w.wait(link.closed());
    return w.eventsOf("certificate.expiring").map(({ level, fields }) => [level, fields["agent"], fields["daysLeft"]]);
  };
  expect(await said()).toEqual([]);
  await w.clock.advance(2 * DAY_MS);
  expect(await said()).toEqual([["warn", "web-1", 29]]);
  await w.clock.advance(DAY_MS / 2);
  expect(await said()).toHaveLength(1);
  await w.clock.advance(DAY_MS);
  expect((await said()).at(-1)).toEqual(["warn", "web-1", 27]);
  await w.clock.advance(21.5 * DAY_MS);
  expect((await said()).at(-1)).toEqual(["warn", "web-1", 6]);
  await w.clock.advance(5.9 * DAY_MS);
  expect((await said()).at(-1)).toEqual(["error", "web-1", 0]);
  expect(w.eventsOf("certificate.expiring")[0]).toMatchObject({
    message: "the certificate of agent web-1 expires in 29d 11h",
    fields: {
      hint: "It did not renew by itself: look for certificate.renewal-failed in the agent's log, or nbackup-server pki renew web-1",
    },
  });
});

test("a Hello under another's name tells nothing of it", async () => {
  const w = await ServerWorld.start();
  world = w;
  const { link } = w.connectAs(() => peerOf("web-2", w.clock.wall() + DAY_MS));
  link.send("hello", helloOf({ role: "health", agent: "web-1" }));
  await w.wait(link.expect("refused"));
  expect(w.eventsOf("certificate.expiring")).toEqual([]);
});

test("so many agents are remembered and no more: the one that was told of longest ago is told of again", () => {
  const clock = new SimClock();
  const events: ObservedEvent[] = [];
  const expiry = new PeerExpiry(clock, { emit: (event) => void events.push(event) });
  const saw = (name: string): void => expiry.saw(peerOf(name, clock.wall() + DAY_MS / 2));
  for (let n = 0; n <= EXPIRING_AGENTS_MAX; n += 1) saw(`web-${n}`);
  expect(events).toHaveLength(EXPIRING_AGENTS_MAX + 1);
  saw("web-5");
  expect(events).toHaveLength(EXPIRING_AGENTS_MAX + 1);
  saw("web-0");
  expect(events).toHaveLength(EXPIRING_AGENTS_MAX + 2);
});

/** `dscp`: the mark is in the packets themselves, of IPv4 and IPv6, as a packet socket on the loopback interface sees them. */
import { dlopen } from "bun:ffi";
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { runBackup } from "#agent/backup-run.ts";
import type { Dialer, DialMarks } from "#net/connection.ts";
import { agentPlan, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { makeNetPki, type NetPki, NetServer } from "#test/support/net-kit.ts";
import { ServerWorld } from "#test/support/server-world.ts";

setDefaultTimeout(60_000);

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK = 3 | 0o4000;
/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const AF41 = 34;

const libc = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  recv: { args: ["i32", "buffer", "u64", "i32"], returns: "i64" },
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
});

let pki: NetPki;
beforeAll(async () => {
  pki = await makeNetPki();
});
const cleanups: (() => void)[] = [() => pki.remove()];
afterAll(() => {
  for (const cleanup of cleanups) cleanup();
});

/** Traffic classes of the packets with data that were sent from `port` since the socket was opened. */
function classesFrom(fd: number, port: number): number[] {
  const classes: number[] = [];
  const packet = new Uint8Array(70_000);
  for (;;) {
    const length = Number(libc.symbols.recv(fd, packet, packet.length, 0));
    if (length < 0) return classes;
    // Behind the Ethernet header of the loopback interface.
    const view = new DataView(packet.buffer, 14, Math.max(40, length - 14));
    const isV6 = view.getUint8(0) >> 4 === 6;
    const tcpAt = isV6 ? 40 : (view.getUint8(0) & 15) * 4;
    if (view.getUint8(isV6 ? 6 : 9) !== 6 || view.getUint16(tcpAt) !== port) continue;
    const dataAt = tcpAt + (view.getUint8(tcpAt + 12) >> 4) * 4;
    const end = isV6 ? 40 + view.getUint16(4) : view.getUint16(2);
    // Large segments announce no length.
    if (end !== 0 && end <= dataAt) continue;
    classes.push(isV6 ? (view.getUint16(0) >> 4) & 0xff : view.getUint8(1));
  }
}

const listening = libc.symbols.socket(AF_PACKET, SOCK_RAW_NONBLOCK, ALL_PROTOCOLS);
if (listening < 0) console.warn("net-dscp: packets cannot be looked at: a packet socket needs root");

for (const host of ["127.0.0.1", "::1"]) {
  test.skipIf(listening < 0)(
    `every packet with data of a marked connection over ${host} carries its DSCP`,
    async () => {
      expect(
        libc.symbols.setsockopt(listening, SOL_SOCKET, SO_RCVBUFFORCE, new Int32Array([16 * 1024 * 1024]), 4),
      ).toBe(0);
      const server = new NetServer(pki.server, { address: { host, port: 0 } });
      cleanups.push(() => server.stop());
      const dialer = server.dialer(pki.agent, { address: { host, port: server.port } });
      for (const [marks, expected] of [
        [{ dscp: AF41 }, AF41 << 2],
        [{}, 0],
      ] as const) {
        const next = server.next();
        const client = await dialer.dial(undefined, marks);
        const end = await next;
        client.attach({ data: () => undefined, drain: () => undefined, closed: () => undefined });
        expect(client.write(new Uint8Array(20_000))).toBeGreaterThan(0);
        await end.until(({ bytes }) => bytes > 0);
        const classes = classesFrom(listening, client.localPort);
        client.destroy();
        expect(classes.length).toBeGreaterThan(1);
        // Two bits are congestion notification's.
        expect(new Set(classes.map((value) => value & 0xfc))).toEqual(new Set([expected]));
      }
    },
  );
}

test.each([0, 3])("with parallels %i it is the connections that carry data which are marked", async (parallels) => {
  const world = await ServerWorld.start();
  const agent = agentWorld(world, () => new MadeUpProducer(world.clock, Array<number>(8).fill(10_000)));
  const marked: (number | undefined)[] = [];
  const dialer: Dialer = {
    dial: (_signal?: AbortSignal, marks?: DialMarks) => {
      marked.push(marks?.dscp);
      return agent.network.dial();
    },
  };
  const plan = agentPlan({ parallels });
  const marks = { ...plan, entry: { ...plan.entry, dscp: AF41 } };
  const run = runBackup({ ...agent.deps, dialer }, marks, new AbortController().signal, () => undefined);
  // The session connection breaks, and comes back as it was.
  await world.clock.advance(5);
  agent.network.cut(0);
  const result = await world.clock.until(run, 600_000);
  expect(result.result).toBe("committed");
  const sessions = parallels === 0 ? marked : [marked[0], marked.at(-1)];
  const streams = parallels === 0 ? [] : marked.slice(1, 1 + parallels);
  expect(sessions).toEqual(parallels === 0 ? [AF41, AF41] : [undefined, undefined]);
  expect(streams).toEqual(Array<number>(parallels).fill(AF41));
});

/** What systemd hears: datagrams to a path and to an abstract name, the watchdog in time, and nothing where nobody listens. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, uptime } from "node:os";
import path from "node:path";
import { ServiceManager } from "#net/service-manager.ts";
import { DatagramSocket } from "#test/support/datagram-socket.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const directory = mkdtempSync(path.join(tmpdir(), "nbackup-notify-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

for (const name of [path.join(directory, "notify"), `@nbackup-test-${process.pid}`]) {
  test(`at ${name.startsWith("@") ? "an abstract name" : "a path"} it hears every state in words of its own`, () => {
    const socket = new DatagramSocket(name);
    const manager = new ServiceManager({ env: { NOTIFY_SOCKET: name }, pid: 7, clock: new SimClock() });
    manager.ready("two\nlines");
    manager.status("running home");
    manager.reloading();
    manager.stopping();
    manager.close();
    const [ready, status, reloading, stopping] = socket.received();
    expect([ready, status, stopping]).toEqual(["READY=1\nSTATUS=two lines", "STATUS=running home", "STOPPING=1"]);
    const usec = Number(/^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(reloading ?? "")?.[1]);
    // The machine's clock, not the process's; it stands still while the machine sleeps.
    expect(usec / 1e6).toBeLessThan(uptime() + 1);
    expect(usec / 1e6).toBeGreaterThan(performance.now() / 1000);
    socket.close();
  });
}

test("the watchdog is fed twice in its time, from readiness on", async () => {
  const name = path.join(directory, "watchdog");
  const socket = new DatagramSocket(name);
  const clock = new SimClock();
  const env = { NOTIFY_SOCKET: name, WATCHDOG_USEC: "10000000", WATCHDOG_PID: "7" };
  const manager = new ServiceManager({ env, pid: 7, clock });
  await clock.advance(60_000);
  expect(socket.received()).toEqual([]);
  manager.ready("ready");
  manager.ready("ready again");
  await clock.advance(20_000);
  expect(socket.received().filter((message) => message === "WATCHDOG=1")).toHaveLength(5);
  manager.close();
  expect(clock.pendingCount).toBe(0);
  const other = new ServiceManager({ env, pid: 8, clock });
  other.ready("ready");
  expect(clock.pendingCount).toBe(0);
  expect(socket.received()).toEqual(["READY=1\nSTATUS=ready"]);
  socket.close();
});

test("a stop that takes its time asks for more of it until it is over", async () => {
  const name = `@nbackup-test-extend-${process.pid}`;
  const socket = new DatagramSocket(name);
  const clock = new SimClock();
  const manager = new ServiceManager({ env: { NOTIFY_SOCKET: name }, pid: 7, clock });
  let waits = 2;
  manager.stopping();
  manager.extend(() => `${waits--} sessions run`);
  await clock.advance(10_000);
  manager.close();
  expect(clock.pendingCount).toBe(0);
  expect(socket.received()).toEqual([
    "STOPPING=1",
    "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=2 sessions run",
    "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=1 sessions run",
  ]);
  socket.close();
});

test("where nobody listens, or the name is none, nothing happens", () => {
  for (const name of [undefined, "", "relative", path.join(directory, "nobody"), `/${"x".repeat(200)}`]) {
    const manager = new ServiceManager({
      env: { NOTIFY_SOCKET: name, WATCHDOG_USEC: "none" },
      pid: 7,
      clock: new SimClock(),
    });
    manager.ready("ready");
    manager.stopping();
    manager.close();
  }
});

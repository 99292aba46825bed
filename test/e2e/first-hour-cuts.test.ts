/** An enrolment whose connection breaks after any number of bytes, or whose machines are killed: the same command goes on. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import type { RunResult } from "#scripts/lib/run.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { FirstHour } from "#test/support/first-hour.ts";
import type { ProxiedConnection } from "#test/support/proxied-connection.ts";
import { WatchedProcess } from "#test/support/watched-process.ts";

let hour: FirstHour;

beforeAll(async () => {
  hour = await FirstHour.make();
  await hour.setup();
  await hour.startServer();
}, 600_000);
afterAll(async () => {
  await hour.remove();
});

const ENROLLED = ["agent-key.pem", "agent.pem", "agent.yaml", "ca.pem"];

test("wherever the connection breaks, the command ends well or says so, and goes on with the same token", async () => {
  const codes = new Set<string>();
  for (const [index, bytes] of [200, 900, 1_700, 2_100, 2_600, 3_000, 3_600, 4_500].entries()) {
    for (const way of ["cut", "damaged"] as const) {
      const name = `${way}-${index}`;
      // The first one, which asks for the CA, is whole. A damaged bit breaks TLS, on the way back from the server.
      let connections = 0;
      const proxy = new FaultProxy({
        targetPort: hour.enrollPort,
        onOpen: (connection) => {
          connections += 1;
          if (connections === 1) return;
          if (way === "cut") connection.cutAfter(bytes);
          else connection.flipBitAfter(bytes, "down");
        },
      });
      try {
        const { token } = await hour.token(name);
        const first = await hour.enroll(name, token, { where: `127.0.0.1:${proxy.port}` });
        codes.add(first.exitCode === 0 ? "done" : ((first.stderr.split("\n").at(-3) ?? "").split(":")[0] ?? ""));
        if (first.exitCode !== 0) {
          const again = await hour.enroll(name, token);
          expect([name, again.exitCode, again.stderr]).toEqual([name, 0, ""]);
        }
        expect([name, fs.readdirSync(hour.at(name)).sort()]).toEqual([name, ENROLLED]);
        expect((await hour.agent(name, "check-config")).exitCode).toBe(0);
      } finally {
        proxy.stop();
      }
    }
  }
  expect([...codes].sort()).toEqual(expect.arrayContaining(["E_CONNECT", "done"]));
}, 120_000);

test("a question for the CA that is cut, in the handshake or behind it, is asked again by the same command", async () => {
  for (const bytes of [300, 1_500]) {
    const name = `asked-${bytes}`;
    const { token } = await hour.token(name);
    let connections = 0;
    const proxy = new FaultProxy({
      targetPort: hour.enrollPort,
      onOpen: (connection) => {
        connections += 1;
        if (connections === 1) connection.cutAfter(bytes);
      },
    });
    try {
      const { exitCode, stderr } = await hour.enroll(name, token, { where: `127.0.0.1:${proxy.port}` });
      expect([name, exitCode, stderr.split("; once more\n").length]).toEqual([name, 0, 2]);
      expect(connections).toBe(3);
    } finally {
      proxy.stop();
    }
  }
}, 60_000);

test("a server that is killed while a machine enrols starts again, and gives the same certificate", async () => {
  const { token } = await hour.token("killed");
  const held = Promise.withResolvers<void>();
  let connections = 0;
  const proxy = new FaultProxy({
    targetPort: hour.enrollPort,
    onOpen: () => {
      connections += 1;
      if (connections === 2) held.resolve();
    },
  });
  try {
    const command = [hour.executables.agent, "enroll", `127.0.0.1:${proxy.port}`, token];
    const agent = new WatchedProcess(
      [...command, "--config", hour.agentConfig("killed"), `--source=${hour.at("source")}`],
      {
        cwd: hour.dir,
      },
    );
    await held.promise;
    await hour.killServer();
    await agent.end();
    await hour.startServer();
    const again = await hour.enroll("killed", token);
    // It may have been through before the kill; then its token is known for used, or the port is closed.
    if (again.exitCode !== 0) expect(again.stderr).toMatch(/E_USAGE/);
    expect(fs.readdirSync(hour.at("killed")).sort()).toEqual(ENROLLED);
    expect((await hour.agent("killed", "--once")).exitCode).toBe(0);
  } finally {
    proxy.stop();
  }
}, 60_000);

test("a machine that is killed while it enrols goes on with the same token", async () => {
  for (const afterMs of [60, 90, 120, 160, 220]) {
    const name = `kill-${afterMs}`;
    const { token } = await hour.token(name);
    const command = [hour.executables.agent, "enroll", `127.0.0.1:${hour.enrollPort}`, token];
    const agent = new WatchedProcess(
      [...command, "--config", hour.agentConfig(name), `--source=${hour.at("source")}`],
      {
        cwd: hour.dir,
      },
    );
    const timer = setTimeout(() => agent.kill("SIGKILL"), afterMs);
    const ended = await agent.end();
    clearTimeout(timer);
    if (ended.exitCode !== 0) {
      const again = await hour.enroll(name, token);
      expect([name, again.exitCode]).toEqual([name, 0]);
      // Killed behind its last word to the server: the token is used, and the port closed.
      expect(again.stderr).toMatch(
        /^(note: (nobody listens on the enrolment port|the token was used already).*events has enroll.done.*\n)?$/,
      );
    }
    expect([name, fs.readdirSync(hour.at(name)).sort()]).toEqual([name, ENROLLED]);
  }
}, 60_000);

test("a machine whose last word was lost says that the server is down, and completes --replace when it is up again", async () => {
  // How many bytes an enrolment sends in all: the last word is among the last hundred.
  let whole = 0;
  const through = async (name: string, token: string, cutAfter?: number): Promise<RunResult> => {
    const seen: ProxiedConnection[] = [];
    const proxy = new FaultProxy({
      targetPort: hour.enrollPort,
      onOpen: (connection) => {
        seen.push(connection);
        if (cutAfter !== undefined && seen.length > 1) connection.cutAfter(cutAfter);
      },
    });
    try {
      return await hour.enroll(name, token, { where: `127.0.0.1:${proxy.port}` });
    } finally {
      whole = seen.at(-1)?.bytesUp ?? 0;
      proxy.stop();
    }
  };
  expect((await through("before", (await hour.token("twice")).token)).exitCode).toBe(0);
  const { token } = await hour.token("twice", "--replace");
  const lastWord = whole - 80;
  const lost = await through("after", token, lastWord);
  expect([lost.exitCode, fs.existsSync(hour.agentConfig("after"))]).toEqual([1, true]);
  await hour.killServer();
  const down = await hour.enroll("after", token);
  expect([down.exitCode, down.stderr]).toEqual([
    1,
    expect.stringMatching(/^E_CONNECT: .*the port for agents does not answer either\nHINT: .*run the same command/),
  ]);
  await hour.startServer();
  expect((await hour.agent("before", "--once")).exitCode).toBe(0);
  const done = await hour.enroll("after", token);
  expect([done.exitCode, done.stderr]).toEqual([0, ""]);
  expect((await hour.agent("before", "--once")).stderr).toContain("E_REVOKED");
  expect((await hour.agent("after", "--once")).exitCode).toBe(0);
  // The token ends before the same command runs again: what it was to replace is still good.
  const { token: withdrawn } = await hour.token("twice", "--replace");
  expect((await through("late", withdrawn, lastWord)).exitCode).toBe(1);
  await hour.token("twice", "--replace");
  const late = await hour.enroll("late", withdrawn);
  expect([late.exitCode, late.stderr]).toEqual([
    0,
    expect.stringMatching(
      /^note: a newer token was made for the same agent; this machine.*events has enroll.done.*\n$/,
    ),
  ]);
  expect((await hour.agent("after", "--once")).exitCode).toBe(0);
}, 60_000);

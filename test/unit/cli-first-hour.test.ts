/** The command lines of setup, enroll-token and enroll. */
import { describe, expect, test } from "bun:test";
import { toFailure } from "#base/errors.ts";
import { parseAgentCommand } from "#cli/agent-command.ts";
import { parseServerCommand } from "#cli/server-command.ts";
import { linuxConfigDisk } from "#config/disk.ts";
import { loadAgentConfig, loadServerConfig } from "#config/load.ts";
import { agentYaml } from "#config/made-agent.ts";
import { serverYaml } from "#config/made-server.ts";
import { pki } from "#test/support/pki-commands.ts";

const words = (line: string): string[] => line.split(" ").filter((word) => word !== "");
const agent = (line: string): unknown => parseAgentCommand(words(line), "1");
const server = (line: string): unknown => parseServerCommand(words(line), "1");

function refusal(parse: () => unknown): string {
  try {
    parse();
    return "accepted";
  } catch (error) {
    return String(toFailure(error));
  }
}

describe("nbackup-agent enroll", () => {
  test("takes address and token, and sources as often as they are given", () => {
    expect(agent("enroll backup:9846 nbe1x")).toEqual({
      command: "enroll",
      request: {
        ...{ server: { host: "backup", port: 9846 }, token: "nbe1x", sources: [] },
        ...{ configFile: "/etc/nbackup/agent.yaml", force: false },
      },
    });
    expect(agent("enroll --source /a [::1]:1 - --source=/b --force --config x.yaml")).toMatchObject({
      request: {
        ...{ server: { host: "::1", port: 1 }, token: "-", sources: ["/a", "/b"], configFile: "x.yaml", force: true },
      },
    });
  });

  test("refuses what it cannot use", () => {
    expect(refusal(() => agent("enroll backup:9846"))).toBe("E_USAGE: nbackup-agent enroll wants TOKEN");
    expect(refusal(() => agent("enroll backup x"))).toStartWith("E_USAGE: backup is not the address of a server");
    expect(refusal(() => agent("enroll b:1 x --source rel"))).toStartWith(
      "E_USAGE: --source rel is not an absolute path",
    );
    expect(refusal(() => agent("enroll b:1 x --force --force"))).toBe("E_USAGE: --force is given twice");
  });
});

describe("nbackup-server setup", () => {
  test("takes every answer as an option", () => {
    const line =
      "setup --yes --config s.yaml --listen :1 --enroll-listen [::]:2 --hosts a,b --storage m=/x --storage n=/y=z --max-backups 3 --pki-dir p --no-enroll --force";
    expect(server(line)).toEqual({
      command: "setup",
      request: {
        ...{ configFile: "s.yaml", listen: ":1", enrollListen: "[::]:2", hosts: "a,b", maxBackups: 3, pkiDir: "p" },
        storages: [
          { name: "m", baseDir: "/x" },
          { name: "n", baseDir: "/y=z" },
        ],
        ...{ noEnroll: true, yes: true, force: true },
      },
    });
  });

  test("refuses what it cannot use", () => {
    expect(refusal(() => server("setup --listen nowhere"))).toStartWith("E_USAGE: --listen nowhere");
    expect(refusal(() => server("setup --storage main"))).toBe("E_USAGE: --storage main is not NAME=DIR");
    expect(refusal(() => server("setup --storage .x=/y"))).toStartWith("E_NAME");
    expect(refusal(() => server("setup --max-backups 0"))).toBe("E_USAGE: --max-backups is 0");
    expect(refusal(() => server("setup now"))).toBe("E_USAGE: nbackup-server setup does not take the argument now");
  });
});

describe("pki enroll-token", () => {
  test("prints the command for the other machine alone on standard output", async () => {
    const { exit, out, err } = await pki(["enroll-token", "web-01", "--replace"]);
    expect([exit, out]).toEqual([0, "nbackup-agent enroll backup:9846 nbe1secret\n"]);
    expect(err).toContain("On the machine that is to be web-01, until ");
    expect(err).toContain("all older ones of web-01 are revoked");
  });

  test("prints one object with --json, and refuses what it cannot use", async () => {
    const { out } = await pki(["enroll-token", "web-01", "--json"]);
    expect(JSON.parse(out)).toEqual({
      ...{
        agent: "web-01",
        token: "nbe1secret",
        server: "backup:9846",
        expires: "2026-02-12T02:00:00Z",
        replace: false,
      },
    });
    expect(await pki(["enroll-token"])).toMatchObject({ exit: 2, out: "" });
    expect(await pki(["enroll-token", "a", "b"])).toMatchObject({ exit: 2 });
    expect(await pki(["enroll-token", "a", "--dir", "x"])).toMatchObject({ exit: 2 });
  });
});

describe("the files that are written", () => {
  const context = (content: string): Parameters<typeof loadServerConfig>[1] => ({
    disk: { ...linuxConfigDisk, read: () => Buffer.from(content) },
    env: {},
    workingDir: "/",
  });

  test("are configurations without a warning, whatever their values are", () => {
    for (const odd of ["on", "a b", 'qu"o', "ü", "1e5", "#x", "- x", "a: b", "%", "'"]) {
      const made = serverYaml({
        ...{
          listen: "[::1]:1",
          enrollListen: ":2",
          caCert: `/c/${odd}`,
          serverCert: "/s",
          serverKey: "/k",
          caKey: `/q${odd}`,
        },
        storages: [{ name: "on", baseDir: `/srv/${odd}`, maxBackups: 1 }],
        checkCommand: "x",
      });
      const { config, warnings } = loadServerConfig("/etc/x.yaml", context(made));
      expect([odd, warnings]).toEqual([odd, []]);
      expect([config.storages[0]?.name, config.storages[0]?.baseDir, config.tls.caKeyFile]).toEqual([
        "on",
        `/srv/${odd}`,
        `/q${odd}`,
      ]);
      const agentMade = agentYaml({
        ...{ name: "null", server: "[::1]:9847", caCert: "/c", clientCert: "/d", clientKey: `/e/${odd}` },
        ...{ storages: ["no", "main"], sources: [{ path: `/s/${odd}`, optional: true }], exclude: [`*/${odd}`] },
        checkCommand: "x",
      });
      const loaded = loadAgentConfig("/etc/x.yaml", context(agentMade));
      expect([odd, loaded.warnings]).toEqual([odd, []]);
      expect([loaded.config.agent.name, loaded.config.backups[0]?.storage]).toEqual(["null", "no"]);
      expect(loaded.config.backups[0]?.sources).toMatchObject([{ path: `/s/${odd}`, optional: true }]);
    }
  });
});

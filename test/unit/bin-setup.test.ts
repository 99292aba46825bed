/** nbackup-server setup, on directories of the test: what it makes, what it leaves alone, and what it asks. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure, toFailure } from "#base/errors.ts";
import { runSetup } from "#bin/setup.ts";
import type { Ask } from "#bin/setup-questions.ts";
import { dropInText, type SetupMachine } from "#bin/setup-system.ts";
import type { SetupRequest } from "#cli/setup-command.ts";
import { linuxConfigDisk } from "#config/disk.ts";
import { loadServerConfig } from "#config/load.ts";
import type { ServerConfig } from "#config/types.ts";
import { loadIdentity } from "#pki/identity.ts";

let root: string;
let count = 0;

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-setup-"));
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

function newDir(): string {
  count += 1;
  return path.join(root, `s${count}`);
}

function load(file: string): ServerConfig {
  return loadServerConfig(file, { disk: linuxConfigDisk, env: {}, workingDir: root }).config;
}

function check({ tls }: ServerConfig): void {
  const { caCertFile: caPath, serverCertFile: certPath, serverKeyFile: keyPath } = tls;
  expect(loadIdentity({ caPath, certPath, keyPath, role: "server", nowMs: Date.now() }).warnings).toEqual([]);
}

interface Ran {
  readonly out: string;
  readonly err: string;
}

async function setup(
  dir: string,
  changes: Partial<SetupRequest> = {},
  ask?: Ask,
  machine: SetupMachine = { user: undefined, unitDir: undefined },
): Promise<Ran> {
  let [out, err] = ["", ""];
  const request: SetupRequest = {
    ...{ configFile: path.join(dir, "server.yaml"), listen: undefined, enrollListen: undefined, hosts: "localhost" },
    ...{ storages: [], maxBackups: undefined, pkiDir: undefined, noEnroll: false, yes: true, force: false },
    ...changes,
  };
  await runSetup({
    ...{ request, machine, ask, load, check },
    stdout: (text) => {
      out += text;
    },
    stderr: (text) => {
      err += text;
    },
  });
  return { out: out.replaceAll(dir, "D"), err: err.replaceAll(dir, "D") };
}

/** Every file below, with mode and content. */
function tree(dir: string): Record<string, string> {
  const names = fs.readdirSync(dir, { recursive: true }) as string[];
  const entries = names.sort().map((name): [string, string] => {
    const stat = fs.lstatSync(path.join(dir, name));
    const mode = (stat.mode & 0o7777).toString(8);
    return [name, stat.isDirectory() ? mode : `${mode} ${fs.readFileSync(path.join(dir, name), "utf8")}`];
  });
  return Object.fromEntries(entries);
}

const modes = (dir: string): Record<string, string> =>
  Object.fromEntries(Object.entries(tree(dir)).map(([name, text]) => [name, text.split(" ")[0] ?? ""]));

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "done",
    (error: unknown) => toFailure(error).code,
  );
}

describe("setup", () => {
  test("makes everything in one directory, keys for their owner only, and a configuration without a warning", async () => {
    const dir = newDir();
    const { out, err } = await setup(dir);
    expect(err).toBe("");
    expect(modes(dir)).toEqual({
      pki: "700",
      "pki/ca.pem": "644",
      "pki/ca-key.pem": "600",
      "pki/server.pem": "644",
      "pki/server-key.pem": "600",
      "server.yaml": "644",
      storage: "700",
    });
    const config = load(path.join(dir, "server.yaml"));
    expect(config.storages).toMatchObject([{ name: "main", baseDir: path.join(dir, "storage"), maxBackups: 14 }]);
    expect(config.tls.caKeyFile).toBe(path.join(dir, "pki/ca-key.pem"));
    expect(config.enrollListen).toEqual({ host: "0.0.0.0", port: 9846 });
    expect(out).toContain("nbackup-server pki enroll-token NAME --config D/server.yaml");
  });

  test("goes by its options", async () => {
    const dir = newDir();
    const storages = [
      { name: "a", baseDir: path.join(dir, "x", "with blank") },
      { name: "on", baseDir: path.join(dir, "b=c") },
    ];
    const options = { listen: "[::1]:7001", enrollListen: ":7002", maxBackups: 3, pkiDir: path.join(dir, "certs") };
    await setup(dir, { ...options, storages, noEnroll: true });
    const config = load(path.join(dir, "server.yaml"));
    expect(config.server.listen).toEqual({ host: "::1", port: 7001 });
    expect(config.enrollListen).toEqual({ host: "0.0.0.0", port: 7002 });
    expect(config.storages.map(({ name, baseDir, maxBackups }) => [name, baseDir, maxBackups])).toEqual([
      ["a", path.join(dir, "x", "with blank"), 3],
      ["on", path.join(dir, "b=c"), 3],
    ]);
    expect(config.tls).toMatchObject({ caCertFile: path.join(dir, "certs/ca.pem"), caKeyFile: undefined });
  });

  test("changes nothing when it is run again", async () => {
    const dir = newDir();
    await setup(dir);
    const before = tree(dir);
    const { out, err } = await setup(dir, { listen: "127.0.0.1:1" });
    expect(tree(dir)).toEqual(before);
    expect(out).not.toContain("made ");
    expect(err).toBe(
      "note: D/server.yaml is there and stays as it is; give --force to write it anew from the options\n",
    );
  });

  test("completes what an interrupted one left, whatever is missing", async () => {
    const dir = newDir();
    await setup(dir);
    const whole = Object.keys(tree(dir));
    const missing = [
      ["server.yaml"],
      ["server.yaml", "pki/server.pem", "pki/server-key.pem"],
      ["storage"],
      ["pki/server-key.pem", "pki/server.pem"],
    ];
    for (const names of missing) {
      const ca = tree(dir)["pki/ca-key.pem"];
      for (const name of names) fs.rmSync(path.join(dir, name), { recursive: true });
      await setup(dir);
      expect([names, Object.keys(tree(dir))]).toEqual([names, whole]);
      expect(tree(dir)["pki/ca-key.pem"]).toBe(ca ?? "");
    }
  });

  test("with --force writes configuration and certificate anew, keeps the old configuration beside it, and the CA", async () => {
    const dir = newDir();
    await setup(dir);
    const before = tree(dir);
    await setup(dir, { force: true, maxBackups: 5 });
    const after = tree(dir);
    expect(after["server.yaml.old"]).toBe(before["server.yaml"] ?? "");
    expect(after["server.yaml"]).toContain("max_backups: 5");
    expect(after["pki/server.pem"]).not.toBe(before["pki/server.pem"] ?? "");
    expect([after["pki/ca.pem"], after["pki/ca-key.pem"]]).toEqual([
      before["pki/ca.pem"] ?? "",
      before["pki/ca-key.pem"] ?? "",
    ]);
  });

  test("makes the directory of a storage that was added to the configuration by hand", async () => {
    const dir = newDir();
    await setup(dir);
    const file = path.join(dir, "server.yaml");
    const added = `storages:\n  second: {base_dir: "${dir}/second", max_backups: 2}\n`;
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace("storages:\n", added));
    expect((await setup(dir)).out).toContain("made  D/second");
    expect(modes(dir)["second"]).toBe("700");
  });

  test("makes a key that others could read its owner's alone", async () => {
    const dir = newDir();
    await setup(dir);
    fs.chmodSync(path.join(dir, "pki/ca-key.pem"), 0o644);
    fs.chmodSync(path.join(dir, "pki/server-key.pem"), 0o640);
    await setup(dir);
    expect([modes(dir)["pki/ca-key.pem"], modes(dir)["pki/server-key.pem"]]).toEqual(["600", "600"]);
  });

  test("does not make a second CA where the key was taken elsewhere, and says that nobody can enrol", async () => {
    const dir = newDir();
    await setup(dir);
    fs.rmSync(path.join(dir, "pki/ca-key.pem"));
    fs.rmSync(path.join(dir, "server.yaml"));
    const { err } = await setup(dir);
    expect(err).toBe("note: D/pki/ca-key.pem is not there, so no agent can enrol here\n");
    expect(load(path.join(dir, "server.yaml")).tls.caKeyFile).toBeUndefined();
    fs.rmSync(path.join(dir, "pki/server.pem"));
    // A key that is there is never overwritten, even one without its certificate.
    expect(await codeOf(setup(dir))).toBe("E_USAGE");
    fs.rmSync(path.join(dir, "pki/server-key.pem"));
    expect(await codeOf(setup(dir))).toBe("E_CERTIFICATE");
  });

  test("says how agents could enrol with a configuration that does not let them", async () => {
    const dir = newDir();
    await setup(dir, { noEnroll: true });
    expect((await setup(dir)).err).toBe(
      "note: tls.ca_key is not set, so no agent can enrol; with it: ca_key: D/pki/ca-key.pem\n",
    );
  });

  test("stops at a configuration that is there and wrong", async () => {
    const dir = newDir();
    fs.mkdirSync(dir);
    fs.writeFileSync(path.join(dir, "server.yaml"), "storages: nothing\n");
    expect(await codeOf(setup(dir))).toBe("E_CONFIG");
    expect(fs.readdirSync(dir)).toEqual(["server.yaml"]);
  });

  test("asks for what no option says, with a default for each, and again when an answer will not do", async () => {
    const dir = newDir();
    const asked: string[] = [];
    const answers: Record<string, string[]> = {
      "Listen for agents on": ["nonsense", "127.0.0.1:7003"],
      "Name of the storage": ["-bad", "big"],
      "Archives to keep of each agent's backup": ["0", "7"],
      "May this server issue certificates, so that agents enrol and renew by themselves": ["perhaps", "no"],
    };
    const ask: Ask = (question, fallback) => {
      asked.push(question);
      const about = question.split("\n").at(-1) ?? "";
      return Promise.resolve(answers[about]?.shift() ?? fallback);
    };
    await setup(dir, { yes: false }, ask);
    const config = load(path.join(dir, "server.yaml"));
    expect(config.server.listen).toEqual({ host: "127.0.0.1", port: 7003 });
    expect(config.storages).toMatchObject([{ name: "big", baseDir: path.join(dir, "storage"), maxBackups: 7 }]);
    expect(config.tls.caKeyFile).toBeUndefined();
    expect(asked[1]).toBe("the port is missing\nListen for agents on");
    expect(asked).toHaveLength(9);
  });

  test("leaves nothing behind when nobody answers", async () => {
    const dir = newDir();
    const ask: Ask = () => Promise.reject(new Failure("E_USAGE", "nobody answers any more: nothing was changed"));
    expect(await codeOf(setup(dir, { yes: false, hosts: undefined }, ask))).toBe("E_USAGE");
    expect(fs.existsSync(dir)).toBe(false);
  });
});

describe("setup as root", () => {
  const user = { uid: 54_321, gid: 54_322 };
  const asRoot = process.getuid?.() === 0 ? test : test.skip;
  if (asRoot === test.skip) console.log("not tried: setup as root, because this is not root");

  asRoot("gives directories and keys to the service's user, and nobody else can read a key", async () => {
    const dir = newDir();
    const unitDir = path.join(dir, "units");
    fs.mkdirSync(unitDir, { recursive: true });
    fs.chmodSync(dir, 0o755);
    fs.mkdirSync(path.join(dir, "empty"));
    fs.mkdirSync(path.join(dir, "full", "something"), { recursive: true });
    const storages = ["empty", "full", "new"].map((name) => ({ name, baseDir: path.join(dir, name) }));
    const { out, err } = await setup(dir, { storages }, undefined, { user, unitDir });
    const owner = (name: string): string => {
      const { uid, gid, mode } = fs.statSync(path.join(dir, name));
      return `${uid}:${gid} ${(mode & 0o777).toString(8)}`;
    };
    expect(owner("pki/server-key.pem")).toBe("54321:54322 600");
    expect(owner("pki/ca-key.pem")).toBe("54321:54322 600");
    expect(owner("pki")).toBe("0:54322 750");
    expect(owner("new")).toBe("54321:54322 700");
    expect(owner("empty")).toStartWith("54321:54322");
    expect(owner("full")).toStartWith("0:0");
    expect(err).toContain("warning: D/full belongs to another user than nbackup");
    expect(out).toContain("made  D/units/nbackup-server.service.d/50-setup.conf");
    const dropIn = fs.readFileSync(path.join(unitDir, "nbackup-server.service.d/50-setup.conf"), "utf8");
    expect(dropIn.split("\n").slice(1, 5)).toEqual([
      "[Service]",
      ...["empty", "full", "new"].map((name) => `ReadWritePaths=-${path.join(dir, name)}`),
    ]);
    // The directory of the test lies below one that is root's alone, or not: whoever may not pass is told so.
    expect(out).toContain("systemctl enable --now nbackup-server");
  });

  asRoot("gives the service no directory that a link of its own leads to", async () => {
    const [dir, system] = [newDir(), newDir()];
    const link = path.join(dir, "given", "second");
    fs.mkdirSync(path.dirname(link), { recursive: true });
    fs.mkdirSync(system);
    fs.symlinkSync(system, link);
    fs.lchownSync(path.dirname(link), user.uid, user.gid);
    fs.lchownSync(link, user.uid, user.gid);
    const { err } = await setup(dir, { storages: [{ name: "second", baseDir: link }] }, undefined, {
      ...{ user, unitDir: undefined },
    });
    expect(fs.statSync(system).uid).toBe(0);
    expect(err).toContain("warning: D/given/second belongs to another user than nbackup");
  });

  asRoot("keeps the CA's key from the service's user where the server is not to issue certificates", async () => {
    const dir = newDir();
    await setup(dir, { noEnroll: true }, undefined, { user, unitDir: undefined });
    expect(fs.statSync(path.join(dir, "pki/ca-key.pem")).uid).toBe(0);
    expect(fs.statSync(path.join(dir, "pki/server-key.pem")).uid).toBe(user.uid);
  });
});

describe("the drop-in", () => {
  test("opens each storage, homes for those that lie there, and low ports", () => {
    const ports = [9847, 9846];
    expect(
      dropInText({ baseDirs: ["/srv/nbackup"], ports })
        .split("\n")
        .slice(1),
    ).toEqual(["[Service]", "ReadWritePaths=-/srv/nbackup", ""]);
    expect(dropInText({ baseDirs: ["/home/x", "/rooty"], ports })).toContain("\nProtectHome=read-only\n");
    expect(dropInText({ baseDirs: ["/homes", "/rooty"], ports })).not.toContain("ProtectHome");
    expect(dropInText({ baseDirs: ["/srv"], ports: [443] })).toContain("AmbientCapabilities=CAP_NET_BIND_SERVICE\n");
    expect(dropInText({ baseDirs: ['/a b/100%/"q"'], ports })).toContain('ReadWritePaths="-/a b/100%%/\\"q\\""\n');
  });
});

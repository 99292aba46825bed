/** What an enrolment leaves on the agent's disk, also when it is interrupted between any two steps. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { toFailure } from "#base/errors.ts";
import { EnrollFiles } from "#bin/enroll-files.ts";
import { systemRandom } from "#bin/system.ts";

const CONTENT = { certPem: "certificate\n", caPem: "ca\n", yaml: "agent: {}\n" };

let root: string;
let count = 0;

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-enroll-files-"));
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

function newDir(): string {
  count += 1;
  return path.join(root, `d${count}`);
}

const SECRET = new Uint8Array(16).fill(7);

function filesOf(dir: string, force = false, secret = SECRET): EnrollFiles {
  return new EnrollFiles({ dir, configName: "agent.yaml", force }, secret);
}

function codeOf(action: () => void): string {
  try {
    action();
    return "done";
  } catch (error) {
    return toFailure(error).code;
  }
}

const visible = (dir: string): string[] =>
  fs
    .readdirSync(dir)
    .filter((name) => !name.startsWith("."))
    .sort();
const read = (dir: string, name: string): string => fs.readFileSync(path.join(dir, name), "utf8");

/** All of it, as the command does. */
function enroll(dir: string, force = false, secret = SECRET): string {
  const files = filesOf(dir, force, secret);
  files.prepare();
  const keyPem = files.key();
  files.stage(CONTENT.certPem, CONTENT.caPem);
  if (!files.installed()) files.install({ ...CONTENT, keyPem }, systemRandom);
  files.done();
  return keyPem;
}

describe("the files of an enrolment", () => {
  test("are key, certificate, CA and configuration, the key for its owner alone, and nothing beside them", () => {
    const dir = newDir();
    enroll(dir);
    expect(fs.readdirSync(dir).sort()).toEqual(["agent-key.pem", "agent.pem", "agent.yaml", "ca.pem"]);
    expect(fs.statSync(path.join(dir, "agent-key.pem")).mode & 0o777).toBe(0o600);
    createPrivateKey(read(dir, "agent-key.pem"));
  });

  test("hold the key that was made first, however often it was interrupted before the end", () => {
    const steps: readonly ((files: EnrollFiles) => void)[] = [
      (files) => files.prepare(),
      (files) => void files.key(),
      (files) => {
        files.key();
        files.stage(CONTENT.certPem, CONTENT.caPem);
      },
      (files) => files.install({ ...CONTENT, keyPem: files.key() }, systemRandom),
    ];
    for (const [index, step] of steps.entries()) {
      const dir = newDir();
      filesOf(dir).prepare();
      const keyPem = filesOf(dir).key();
      step(filesOf(dir));
      expect([index, enroll(dir)]).toEqual([index, keyPem]);
      expect([index, read(dir, "agent-key.pem")]).toEqual([index, keyPem]);
      expect(fs.readdirSync(dir).sort()).toEqual(["agent-key.pem", "agent.pem", "agent.yaml", "ca.pem"]);
    }
  });

  test("are known for this enrolment's own when only the server's last word is missing", () => {
    const dir = newDir();
    const files = filesOf(dir);
    files.prepare();
    files.install({ ...CONTENT, keyPem: files.key() }, systemRandom);
    expect(filesOf(dir).installed()).toBe(true);
    expect(codeOf(() => filesOf(dir).prepare())).toBe("done");
    expect(filesOf(dir, false, new Uint8Array(16).fill(8)).installed()).toBe(false);
  });

  test("have no half-written key when the crash came while it was written", () => {
    const dir = newDir();
    const files = filesOf(dir);
    files.prepare();
    files.key();
    const [staging = ""] = fs.readdirSync(dir);
    fs.renameSync(path.join(dir, staging, "agent-key.pem"), path.join(dir, staging, "agent-key.pem.new"));
    fs.truncateSync(path.join(dir, staging, "agent-key.pem.new"), 10);
    createPrivateKey(filesOf(dir).key());
  });

  test("are not kept a second time by what a kill in the middle of writing left, and pki's own files are", () => {
    const dir = newDir();
    for (const [name, file] of [
      [".nbackup-pki.6a1df554e1313264", "agent-key.pem"],
      [".nbackup-pki.0000000000000000", "server-key.pem"],
    ] as const) {
      fs.mkdirSync(path.join(dir, name), { recursive: true });
      fs.writeFileSync(path.join(dir, name, file), "key");
    }
    enroll(dir);
    expect(fs.readdirSync(dir).filter((name) => name.startsWith("."))).toEqual([".nbackup-pki.0000000000000000"]);
  });

  test("never take the place of others without --force", () => {
    for (const name of ["agent.yaml", "agent-key.pem", "agent.pem"]) {
      const dir = newDir();
      fs.mkdirSync(dir);
      fs.writeFileSync(path.join(dir, name), "somebody's");
      expect([name, codeOf(() => filesOf(dir).prepare())]).toEqual([name, "E_USAGE"]);
      expect(visible(dir)).toEqual([name]);
    }
  });

  test("take it with --force, and the old configuration stays beside the new one", () => {
    const dir = newDir();
    enroll(dir);
    const old = read(dir, "agent-key.pem");
    fs.writeFileSync(path.join(dir, "agent.yaml"), "mine\n");
    enroll(dir, true, new Uint8Array(16).fill(9));
    expect(visible(dir)).toEqual(["agent-key.pem", "agent.pem", "agent.yaml", "agent.yaml.old", "ca.pem"]);
    expect([read(dir, "agent.yaml.old"), read(dir, "agent.yaml")]).toEqual(["mine\n", CONTENT.yaml]);
    expect(read(dir, "agent-key.pem")).not.toBe(old);
  });

  test("share a ca.pem that is the same, and leave another's alone, with --force too", () => {
    const dir = newDir();
    fs.mkdirSync(dir);
    fs.writeFileSync(path.join(dir, "ca.pem"), CONTENT.caPem);
    enroll(dir);
    expect(visible(dir)).toEqual(["agent-key.pem", "agent.pem", "agent.yaml", "ca.pem"]);
    for (const force of [false, true]) {
      const server = newDir();
      fs.mkdirSync(server);
      fs.writeFileSync(path.join(server, "ca.pem"), "of a server\n");
      enroll(server, force);
      expect(read(server, "ca.pem")).toBe("of a server\n");
      expect(read(server, "agent-ca.pem")).toBe(CONTENT.caPem);
    }
  });

  test("cannot be written where this user may not, and that is said", () => {
    const dir = newDir();
    fs.writeFileSync(dir, "a file");
    expect(codeOf(() => filesOf(dir).prepare())).toBe("E_WRITE");
  });
});

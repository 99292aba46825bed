import { afterAll, afterEach, beforeAll, describe, expect, mock, spyOn, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { ensureDirectory, finishInterrupted, type PairWrite, writeTogether } from "#pki/pair-store.ts";

let root: string;
let made = 0;

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-store-"));
});
afterEach(() => mock.restore());
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const random: Random = { bytes: (length) => new Uint8Array(length).fill(7), unit: () => 0 };

function newDir(): string {
  made += 1;
  const dir = path.join(root, `d${made}`);
  fs.mkdirSync(dir, { mode: 0o700 });
  return dir;
}

function pairOf(dir: string, content: string, force: boolean, pair = "web"): PairWrite {
  const files = [
    { name: `${pair}-key.pem`, content: `key ${content}`, mode: 0o600 },
    { name: `${pair}.pem`, content: `cert ${content}`, mode: 0o644 },
  ];
  return { dir, pair, files, force };
}

/** `old`, `new`, `none`, or what else lies there. */
function state(dir: string): string {
  const read = (name: string): string => {
    const filePath = path.join(dir, name);
    return fs.existsSync(filePath) ? (fs.readFileSync(filePath, "utf8").split(" ")[1] ?? "?") : "none";
  };
  const [cert, key] = [read("web.pem"), read("web-key.pem")];
  return cert === key ? cert : `cert ${cert}, key ${key}`;
}

const visible = (dir: string): string[] =>
  fs
    .readdirSync(dir)
    .filter((name) => !name.startsWith("."))
    .sort();

describe("writing certificate and key", () => {
  test("gives them their modes whatever the umask, and leaves nothing beside them", () => {
    const dir = newDir();
    writeTogether(pairOf(dir, "new", false), random);
    expect(fs.readdirSync(dir).sort()).toEqual(["web-key.pem", "web.pem"]);
    expect(fs.statSync(path.join(dir, "web-key.pem")).mode & 0o777).toBe(0o600);
    expect(fs.statSync(path.join(dir, "web.pem")).mode & 0o777).toBe(0o644);
  });

  test("creates a missing directory for its owner only", () => {
    const dir = path.join(newDir(), "a", "b");
    ensureDirectory(dir);
    expect(fs.statSync(dir).mode & 0o777).toBe(0o700);
  });

  test.each(["web.pem", "web-key.pem"])("refuses without force when %s is there, and changes nothing", (name) => {
    const dir = newDir();
    fs.writeFileSync(path.join(dir, name), "x old");
    expect(() => writeTogether(pairOf(dir, "new", false), random)).toThrow(/exists already, and nothing was changed/);
    expect(fs.readdirSync(dir)).toEqual([name]);
    expect(fs.readFileSync(path.join(dir, name), "utf8")).toBe("x old");
  });

  test("replaces a symbolic link itself, not the file it points to", () => {
    const dir = newDir();
    fs.writeFileSync(path.join(dir, "precious"), "precious");
    fs.symlinkSync("precious", path.join(dir, "web.pem"));
    writeTogether(pairOf(dir, "new", true), random);
    expect(fs.readFileSync(path.join(dir, "precious"), "utf8")).toBe("precious");
    expect(state(dir)).toBe("new");
  });

  test("gives way to another command that is writing the same pair", () => {
    const dir = newDir();
    fs.mkdirSync(path.join(dir, ".nbackup-pki.replace.web"));
    fs.writeFileSync(path.join(dir, ".nbackup-pki.replace.web", "web.pem"), "cert other");
    expect(() => writeTogether(pairOf(dir, "new", true), random)).toThrow(/another pki command is writing/);
    expect(() => writeTogether(pairOf(dir, "new", true, "db"), random)).not.toThrow();
    expect(visible(dir)).toEqual(["db-key.pem", "db.pem"]);
  });

  test("keeps the owner of what root replaces", () => {
    const dir = newDir();
    writeTogether(pairOf(dir, "old", false), random);
    const chown = spyOn(fs, "lchownSync").mockImplementation(() => undefined);
    const real = fs.lstatSync;
    spyOn(fs, "lstatSync").mockImplementation(((target: fs.PathLike, options?: fs.StatSyncOptions) => {
      const stat = real(target, options);
      if (stat !== undefined && String(target) === path.join(dir, "web-key.pem"))
        Object.assign(stat, { uid: 1234, gid: 5678 });
      return stat;
    }) as typeof fs.lstatSync);
    writeTogether(pairOf(dir, "new", true), random);
    expect(chown.mock.calls.map(([target, uid, gid]) => [path.basename(String(target)), uid, gid])).toEqual([
      ["web-key.pem", 1234, 5678],
    ]);
  });

  test("does not carry out what another user laid out in a directory open to all", () => {
    const dir = newDir();
    fs.writeFileSync(path.join(dir, ".nbackup-pki.add.ca"), "not a directory");
    expect(() => finishInterrupted(dir, "ca")).toThrow(/was not left there by a pki command of this user/);
  });

  test("ends in E_WRITE with the errno's name when the directory cannot be written", () => {
    const dir = path.join(root, "missing");
    try {
      writeTogether(pairOf(dir, "new", false), random);
      throw new Error("it was written");
    } catch (error) {
      expect(String(error)).toBe(`E_WRITE: ${dir} cannot be written: ENOENT`);
    }
  });
});

/** Every call that changes the disk or waits for it. */
const CHANGING = [
  "mkdirSync",
  "openSync",
  "writeFileSync",
  "fchmodSync",
  "fsyncSync",
  "renameSync",
  "linkSync",
  "unlinkSync",
  "rmSync",
] as const;

/** Makes the calls from number `first` (0 is the first) to number `last` fail; returns how many were made. */
function failCalls(first: number, last: number): () => number {
  let count = 0;
  for (const name of CHANGING) {
    const real = fs[name] as (...args: unknown[]) => unknown;
    spyOn(fs, name).mockImplementation(((...args: unknown[]) => {
      const number = count;
      count += 1;
      if (number >= first && number <= last) throw Object.assign(new Error("planted"), { code: "EIO" });
      return real(...args);
    }) as never);
  }
  return () => count;
}

describe.each([
  ["adding a pair", false, ["none", "new"]],
  ["replacing a pair", true, ["old", "new"]],
] as const)("%s", (_what, force, allowed) => {
  /** Tries every call as the one at which it fails; `length` calls fail from there. Returns the states seen. */
  function failEverywhere(length: number): Set<string> {
    const seen = new Set<string>();
    for (let first = 0; first < 100; first++) {
      const dir = newDir();
      if (force) writeTogether(pairOf(dir, "old", false), random);
      const calls = failCalls(first, first + length - 1);
      let failed = false;
      try {
        writeTogether(pairOf(dir, "new", force), random);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failed = true;
      }
      const made = calls();
      mock.restore();
      finishInterrupted(dir, "web");
      const after = state(dir);
      seen.add(after);
      if (!failed) expect(after).toBe("new");
      if (visible(dir).includes("web-key.pem")) {
        expect(fs.statSync(path.join(dir, "web-key.pem")).mode & 0o777).toBe(0o600);
      }
      if (made <= first) return seen;
    }
    throw new Error("it never came to an end");
  }

  test("and crashing at any call leaves all or nothing after the next command has looked", () => {
    expect([...failEverywhere(Number.POSITIVE_INFINITY)].sort()).toEqual([...allowed].sort());
  });

  test("and failing at any one call leaves all or nothing after the next command has looked", () => {
    expect([...failEverywhere(1)].sort()).toEqual([...allowed].sort());
  });
});

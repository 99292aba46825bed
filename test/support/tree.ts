/**
 * Real trees for tests, in a temporary directory: small ones from a list, and the torture tree with everything a file can be
 * called and be. Uses the system's own tools where Bun's fs is not exact.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { KiB } from "#base/units.ts";

/** A fresh directory; the caller removes it. `base` may name another filesystem. */
export function makeTempDir(base = os.tmpdir()): string {
  // Resolved, because a source must not be reached through a symbolic link of its own.
  return fs.realpathSync(fs.mkdtempSync(path.join(base, "nbackup-tree-")));
}

/** A filesystem in memory, where there is one: a restore ends with a sync, which on a shared disk waits for what others write. */
export function memoryDir(): string {
  return fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
}

export function removeTree(dir: string): void {
  fs.rmSync(dir, { recursive: true, force: true });
}

export const isRoot = process.getuid?.() === 0;

let toldOfRoot = false;

/** For `skipIf`: true, and said once in a file's output, where this is not root. */
export function lacksRoot(): boolean {
  if (!isRoot && !toldOfRoot) console.log("Tests that need root are skipped: this is not root.");
  toldOfRoot = true;
  return !isRoot;
}

/** Runs a tool and gives what it printed. Throws with its errors when its exit status is another than 0. */
export function run(command: string, args: readonly string[], input?: Uint8Array, cwd?: string): Buffer {
  const result = spawnSync(command, args, {
    ...(input === undefined ? {} : { input }),
    ...(cwd === undefined ? {} : { cwd }),
    maxBuffer: 2 ** 30,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8", TZ: "UTC" },
  });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${result.status}\n${result.stderr}`);
  return result.stdout;
}

/** Deterministic bytes that neither repeat at once nor compress to nothing. */
export function patternBytes(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = (state >>> 24) & 0x3f;
  }
  return bytes;
}

/** `count` files of `bytes` each, a thousand to a directory. */
export function makeSmallFiles(dir: string, count: number, bytes: number): void {
  const data = patternBytes(bytes);
  for (let i = 0; i < count; i += 1) {
    const sub = path.join(dir, `d${Math.floor(i / 1000)}`);
    if (i % 1000 === 0) fs.mkdirSync(sub, { recursive: true });
    fs.writeFileSync(path.join(sub, `file-${String(i).padStart(6, "0")}`), data);
  }
}

const bytesOf = (latin1: string): Buffer => Buffer.from(latin1, "latin1");

/** Names in latin1 text: one character per byte. */
const ODD_NAMES = [
  "plain",
  " leading and trailing ",
  "-rf",
  "--checkpoint-action=exec=sh",
  "new\nline",
  "tab\tand\rreturn",
  "\x01\x1b[31mred\x7f",
  "back\\slash\"quote'*?[x]",
  "a:b=c,d;e|f&g<h>i$j`k(l)m{n}",
  "\xc3\xa9t\xc3\xa9",
  "caf\xe9",
  "\xff\xfe\x80",
  "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
  "...",
  ".hidden",
  "n".repeat(255),
  "\xc3\xa9".repeat(127),
  "\xfe".repeat(255),
];

/**
 * Everything: odd names, long paths, sizes around borders, modes, hard links, symbolic links, fifos, far and exact times; as
 * root also owners and devices.
 */
export function makeTortureTree(dir: string): void {
  fs.mkdirSync(dir, { recursive: true });
  const at = (name: string): Buffer => Buffer.concat([Buffer.from(`${dir}/`), bytesOf(name)]);
  makeNames(at);
  makeSizes(at);
  makeLinks(at, dir);
  makeDeep(at);
  makeSpecial(at, dir);
  makeTimes(at, dir);
}

type At = (name: string) => Buffer;

function makeNames(at: At): void {
  fs.mkdirSync(at("names"));
  for (const [i, name] of ODD_NAMES.entries()) {
    fs.writeFileSync(at(`names/${name}`), `content of ${i}`);
    fs.mkdirSync(at(`names/d${name.slice(0, 250)}`));
    fs.writeFileSync(at(`names/d${name.slice(0, 250)}/${name}`), patternBytes(i * 100, i));
    fs.symlinkSync(bytesOf(name), at(`names/l${name.slice(0, 250)}`));
  }
  fs.mkdirSync(at("empty directory"));
  for (const length of [1, 50, 99, 100, 101, 150, 155, 200, 254, 255]) {
    fs.writeFileSync(at(`names/${"x".repeat(length)}`), String(length));
  }
}

function makeSizes(at: At): void {
  fs.mkdirSync(at("sizes"));
  const borders = [0, 1, 511, 512, 513, 32 * KiB, 32 * KiB + 1, 64 * KiB - 1, 64 * KiB, 64 * KiB + 1, 200_000, 700_000];
  for (const size of borders) fs.writeFileSync(at(`sizes/${size}`), patternBytes(size, size));
}

function makeLinks(at: At, dir: string): void {
  fs.mkdirSync(at("links"));
  fs.writeFileSync(at("links/z first by time"), "linked");
  for (const name of ["a", "b", "\xff raw", "\xc3\xa9"]) fs.linkSync(at("links/z first by time"), at(`links/${name}`));
  fs.linkSync(at("sizes/700000"), at("links/large"));
  const longName = `links/${"k".repeat(250)}`;
  fs.mkdirSync(at(longName));
  fs.linkSync(at("links/a"), at(`${longName}/${"k".repeat(250)}`));
  fs.linkSync(at("sizes/513"), at(`${longName}/to a short name`));
  fs.writeFileSync(at(`${longName}/\xfe target`), "raw and long");
  fs.linkSync(at(`${longName}/\xfe target`), at("links/zz to a raw long name"));
  fs.symlinkSync("no such target", at("links/dangling"));
  fs.symlinkSync(dir, at("links/to a directory"));
  fs.symlinkSync(`${"../".repeat(33)}${"t".repeat(101)}`, at("links/long target"));
  fs.symlinkSync("x".repeat(4095), at("links/longest target"));
  fs.symlinkSync(bytesOf(`\xff${"r".repeat(120)}`), at("links/long raw target"));
}

function makeDeep(at: At): void {
  let name = "deep";
  fs.mkdirSync(at(name));
  // Up to what other tools still extract: paths below 4096 bytes wherever they are put.
  while (name.length < 3500) {
    name += `/${"d".repeat(60)}`;
    fs.mkdirSync(at(name));
  }
  fs.writeFileSync(at(`${name}/bottom`), "deep down");
  for (let i = 0; i < 150; i += 1)
    fs.mkdirSync(at(`many/${Array.from({ length: i + 1 }, () => "m").join("/")}`), { recursive: true });
}

function makeSpecial(at: At, dir: string): void {
  fs.mkdirSync(at("special"));
  run("mkfifo", [path.join(dir, "special/fifo")]);
  for (const mode of [0o000, 0o400, 0o755, 0o4755, 0o2755, 0o7777]) {
    fs.writeFileSync(at(`special/mode ${mode.toString(8)}`), "mode");
    fs.chmodSync(at(`special/mode ${mode.toString(8)}`), isRoot ? mode : mode | 0o400);
    fs.mkdirSync(at(`special/directory ${mode.toString(8)}`));
    fs.chmodSync(at(`special/directory ${mode.toString(8)}`), isRoot ? mode : mode | 0o700);
  }
  if (!isRoot) return;
  run("mknod", [path.join(dir, "special/char"), "c", "1", "3"]);
  run("mknod", [path.join(dir, "special/block"), "b", "259", "70000"]);
  for (const [uid, gid] of [
    [1, 1],
    [2_097_151, 2_097_151],
    [2_097_152, 3_000_000],
    [4_294_967_294, 4_294_967_294],
  ] as const) {
    fs.writeFileSync(at(`special/owner ${uid}`), "owned");
    run("chown", [`${uid}:${gid}`, path.join(dir, `special/owner ${uid}`)]);
  }
}

/** Times that every filesystem in use holds (ext4 with 256-byte inodes ends in 2446). */
const TIMES = [
  "@0",
  "@1.000000001",
  "@1700000000.123456789",
  "@1700000000.5",
  "@2147483647.999999999",
  "@2147483648",
  "@4294967296.25",
  "@8589934591",
  "@8589934592.75",
  "@-1",
  "@-1000000000",
];

function makeTimes(at: At, dir: string): void {
  fs.mkdirSync(at("times"));
  for (const time of TIMES) {
    fs.writeFileSync(at(`times/${time}`), time);
    fs.symlinkSync(time, at(`times/l${time}`));
    run("touch", ["-h", "-d", time, path.join(dir, `times/${time}`), path.join(dir, `times/l${time}`)]);
  }
  run("touch", ["-d", "@1234567890.987654321", dir, path.join(dir, "times"), path.join(dir, "empty directory")]);
}

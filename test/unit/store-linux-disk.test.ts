/** The real disk, and a session on it: what node and the kernel do must be what the simulated disk pretends. */
import { afterEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { systemClock } from "#bin/system.ts";
import { LinuxDisk } from "#store/linux-disk.ts";
import { Storage } from "#store/storage.ts";
import {
  begin,
  chunkAt,
  end,
  listen,
  proofOf,
  request,
  seededRandom,
  send,
  shuffled,
  storageOptions,
  testFile,
} from "#test/support/store-kit.ts";

const made: string[] = [];
const privileged = process.geteuid?.() === 0;

function temporary(base = os.tmpdir()): string {
  const directory = fs.realpathSync(fs.mkdtempSync(path.join(base, "nbackup-store-")));
  made.push(directory);
  return directory;
}

afterEach(() => {
  for (const directory of made.splice(0)) fs.rmSync(directory, { recursive: true, force: true });
});

function linuxDisk(): LinuxDisk {
  const spawnThread = (): Worker =>
    new Worker(new URL(import.meta.resolve("#bin/disk-worker.ts")).href, { smol: true });
  return new LinuxDisk({ privileged, spawnThread });
}

function code(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => "no error",
    (error: unknown) => (typeof error === "object" && error !== null && "code" in error ? error.code : error),
  );
}

test("a file is written and read at any place, and reads short only at its end", async () => {
  const directory = temporary();
  const disk = linuxDisk();
  const file = await disk.create(`${directory}/f`, 0o640);
  await file.write(Buffer.from("world"), 6);
  await file.write(Buffer.from("hello "), 0);
  await file.fdatasync();
  const into = Buffer.alloc(20);
  expect([await file.read(into, 0), into.toString("latin1", 0, 11)]).toEqual([11, "hello world"]);
  expect([await file.read(into, 11), await file.size()]).toEqual([0, 11]);
  await file.truncate(5);
  await file.chmod(0o600);
  await file.close();
  const stat = await disk.lstat(`${directory}/f`);
  expect([stat.type, stat.mode, stat.size, stat.links]).toEqual(["file", 0o600, 5, 1]);
  expect((await disk.space(directory)).totalBytes).toBeGreaterThan(0);
});

test("modes are what was asked for, whatever the umask says", async () => {
  const directory = temporary();
  const disk = linuxDisk();
  const umask = process.umask(0o077);
  try {
    await (await disk.create(`${directory}/f`, 0o640)).close();
    await disk.mkdir(`${directory}/d`, 0o750);
  } finally {
    process.umask(umask);
  }
  expect((await disk.lstat(`${directory}/f`)).mode).toBe(0o640);
  expect((await disk.lstat(`${directory}/d`)).mode).toBe(0o750);
});

test("nothing is overwritten, no link is followed, and every refusal has its errno name", async () => {
  const directory = temporary();
  const disk = linuxDisk();
  const at = (name: string): string => `${directory}/${name}`;
  await (await disk.create(at("f"), 0o600)).close();
  await disk.mkdir(at("d"), 0o700);
  fs.symlinkSync(at("f"), at("to-file"));
  fs.symlinkSync(at("d"), at("to-directory"));
  fs.symlinkSync(at("nothing"), at("dangling"));
  expect(await code(disk.create(at("f"), 0o600))).toBe("EEXIST");
  expect(await code(disk.create(at("dangling"), 0o600))).toBe("EEXIST");
  expect(await code(disk.open(at("to-file"), "read"))).toBe("ELOOP");
  expect(await code(disk.open(at("d"), "read"))).toBe("EINVAL");
  expect(await code(disk.open(at("nothing"), "read"))).toBe("ENOENT");
  expect(await code(disk.mkdir(at("to-directory"), 0o700))).toBe("EEXIST");
  expect(await code(disk.link(at("f"), at("dangling")))).toBe("EEXIST");
  expect(await code(disk.syncDirectory(at("to-directory")))).toBe("ENOTDIR");
  expect(await code(disk.rmdir(at("d")))).toBe("no error");
  expect((await disk.lstat(at("to-file"))).type).toBe("symlink");
  await disk.link(at("f"), at("g"));
  const [first, second] = [await disk.lstat(at("f")), await disk.lstat(at("g"))];
  expect([first.identity === second.identity, first.links]).toEqual([true, 2]);
  await disk.rename(at("g"), at("h"));
  await disk.unlink(at("h"));
  expect((await disk.readdir(directory)).sort()).toEqual(["dangling", "f", "to-directory", "to-file"]);
  await disk.syncDirectory(directory);
  expect(await disk.realpath(at("to-file"))).toBe(at("f"));
});

test("a lock is held by one, in this process too, and a fifo in its place does not hang the server", async () => {
  const directory = temporary();
  const disk = linuxDisk();
  const lock = await disk.lock(`${directory}/lock`);
  expect(await code(disk.lock(`${directory}/lock`))).toBe("EWOULDBLOCK");
  await lock.release();
  await (await disk.lock(`${directory}/lock`)).release();
  Bun.spawnSync(["mkfifo", `${directory}/fifo`]);
  expect(await code(disk.open(`${directory}/fifo`, "read"))).toBe("EINVAL");
});

test("a filesystem is synced off the main thread, by as many as hold it, and the thread ends with the last", async () => {
  const directory = temporary();
  const disk = linuxDisk();
  const [first, second] = [await disk.openFilesystem(directory), await disk.openFilesystem(directory)];
  const file = await disk.create(`${directory}/f`, 0o640);
  await file.write(new Uint8Array(1 << 20), 0);
  await Promise.all([first.sync(), second.sync(), first.sync()]);
  await first.close();
  await second.sync();
  await second.close();
  await file.close();
  expect(await code(disk.openFilesystem(`${directory}/f`))).toBe("ENOTDIR");
});

test("whole files are appended to another as far as they fit, the first in any case, from this filesystem or another", async () => {
  // The kernel copies within a filesystem; between two of different kinds it does not.
  const directories = [temporary(), temporary(fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir())];
  const disk = linuxDisk();
  for (const into of directories) {
    const [directory] = directories;
    const filesystem = await disk.openFilesystem(into);
    const lengths = [3_000_000, 1, 2_000_000, 0, 500_000];
    const paths = lengths.map((length, index) => {
      fs.writeFileSync(`${directory}/${index}`, Buffer.alloc(length, index + 1));
      return `${directory}/${index}`;
    });
    const whole = `${into}/whole`;
    fs.writeFileSync(whole, "before");
    expect(await filesystem.append(paths, whole, 6, 1)).toEqual([3_000_000]);
    expect(await filesystem.append(paths.slice(1), whole, 3_000_006, 2_000_001)).toEqual([1, 2_000_000, 0]);
    expect(await filesystem.append(paths.slice(4), whole, 5_000_007, 1 << 30)).toEqual([500_000]);
    const expected = lengths.map((length, index) => Buffer.alloc(length, index + 1));
    expect(fs.readFileSync(`${into}/whole`).equals(Buffer.concat([Buffer.from("before"), ...expected]))).toBeTrue();
    fs.symlinkSync(`${directory}/0`, `${into}/link`);
    const append = (names: string[]): Promise<readonly number[]> => filesystem.append(names, whole, 0, 1 << 30);
    expect(await code(append([`${into}/missing`]))).toBe("ENOENT");
    expect(await code(append([`${into}/link`]))).toBe("ELOOP");
    expect(await code(append([into]))).toBe("EINVAL");
    expect(await append([`${directory}/1`, `${into}/missing`, `${directory}/1`])).toEqual([1]);
    expect(await code(filesystem.append([`${directory}/1`], `${into}/link`, 0, 1))).toBe("ELOOP");
    expect(await code(filesystem.append([`${directory}/1`], `${into}/missing`, 0, 1))).toBe("ENOENT");
    await filesystem.close();
  }
});

test("a session on a real disk leaves the three files, checked by sha256sum, and nothing else", async () => {
  const baseDir = temporary();
  const disk = linuxDisk();
  if (privileged) fs.chownSync(baseDir, 1234, 1235);
  const options = storageOptions({ baseDir, disk, clock: systemClock, pendingBytesMax: 1 << 20 });
  const storage = await Storage.open(options);
  expect(await code(Storage.open(options))).toBe("E_LOCKED");
  const random = seededRandom(5);
  const archive = testFile(
    random,
    Array.from({ length: 60 }, () => 1 + Math.floor(random.unit() * 200_000)),
  );
  const index = testFile(random, [3000], 1);
  const { heard, events } = listen();
  const store = await storage.createSession(request(), events);
  for (const chunk of shuffled([...archive.chunks, ...index.chunks], random)) send(store, chunk);
  store.push();
  const answer = await store.finish(proofOf(archive, index), () => undefined);
  const directory = `${baseDir}/web-01/home`;
  const name = "2026-02-12T02-00-00-123Z";
  expect(fs.readdirSync(directory).sort()).toEqual([`${name}.idx`, `${name}.tar.gz`, `${name}.tar.gz.sha256`]);
  expect(fs.readFileSync(`${baseDir}/${answer.archive}`).equals(archive.bytes)).toBeTrue();
  expect(fs.readFileSync(`${directory}/${name}.idx`).equals(index.bytes)).toBeTrue();
  expect(fs.statSync(`${baseDir}/${answer.archive}`).mode & 0o777).toBe(0o640);
  const owner = fs.statSync(baseDir);
  for (const made of ["web-01", "web-01/home", answer.archive, `${answer.archive}.sha256`, ".nbackup/commits.jsonl"]) {
    const stat = fs.statSync(`${baseDir}/${made}`);
    expect([made, stat.uid, stat.gid]).toEqual([made, owner.uid, owner.gid]);
  }
  const check = Bun.spawnSync(["sha256sum", "-c", `${name}.tar.gz.sha256`], { cwd: directory });
  expect([check.exitCode, check.stdout.toString()]).toEqual([0, `${name}.tar.gz: OK\n`]);
  expect(fs.readdirSync(`${baseDir}/.nbackup/sessions`)).toEqual([]);
  expect([heard.failed, heard.lost]).toEqual([[], []]);
  expect((await storage.archives("web-01", "home")).map((each) => each.bytes)).toEqual([archive.bytes.length]);
  expect((await storage.space()).freeBytes).toBeGreaterThan(0);
  await storage.close();
});

test("an aborted session on a real disk leaves nothing", async () => {
  const baseDir = temporary();
  const storage = await Storage.open(storageOptions({ baseDir, disk: linuxDisk(), clock: systemClock }));
  const file = testFile(seededRandom(6), [500_000, 500_000]);
  const store = await storage.createSession(request(), listen().events);
  send(store, chunkAt(file, 1));
  const writer = begin(store, chunkAt(file, 0));
  writer.write(chunkAt(file, 0).bytes.subarray(0, 300_000));
  expect(await code(store.finish(proofOf(file), () => undefined))).toBe("E_PROTOCOL");
  await store.abort(new Failure("E_ABORTED", "by the test"));
  expect(end(writer, chunkAt(file, 0))).toBe("damaged");
  expect(fs.readdirSync(baseDir)).toEqual([".nbackup"]);
  expect(fs.readdirSync(`${baseDir}/.nbackup/sessions`)).toEqual([]);
  await storage.close();
});

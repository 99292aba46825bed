/** What a failed sync drops may be another session's: the kernel tells everybody who has the file or the filesystem open, once. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  listen,
  openKit,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  testFile,
} from "#test/support/store-kit.ts";

const archive = testFile(seededRandom(21), [7000, 300, 40_000]);

function failOnce(disk: MemoryDisk, call: string): void {
  disk.hook = (event) => {
    if (event.call !== call) return;
    disk.hook = () => undefined;
    throw diskError("EIO");
  };
}

test("a session does not acknowledge what a failed sync of the filesystem for another one has dropped", async () => {
  const kit = await openKit({ staging: { shardLevels: 1, chunkFsync: false } });
  const [a, b] = [listen(), listen()];
  const first = await kit.storage.createSession(request(), a.events);
  const second = await kit.storage.createSession(request({ session: SESSION_B, agent: "web-02" }), b.events);
  for (const chunk of archive.chunks) send(second, chunk);
  // Its bytes are written, and not synced yet.
  await settle();
  for (const chunk of archive.chunks) send(first, chunk);
  failOnce(kit.disk, "syncFilesystem");
  first.push();
  await settle();
  expect(a.heard.failed.map(({ code }) => code)).toEqual(["E_DISK"]);
  second.push();
  await settle();
  expect(b.heard.failed.map(({ code }) => code)).toEqual(["E_DISK"]);
  expect(second.acknowledgement(1)[0]?.durableChunks).toBe(0);
  for (const store of [first, second]) await store.abort(new Failure("E_ABORTED", "by the test"));
  const third = listen();
  const later = await kit.storage.createSession(request({ session: SESSION_A }), third.events);
  for (const chunk of archive.chunks) send(later, chunk);
  later.push();
  await settle();
  expect([third.heard.failed, later.acknowledgement(1)[0]?.durableChunks]).toEqual([[], 3]);
  await later.abort(new Failure("E_ABORTED", "by the test"));
  await kit.storage.close();
});

test("the disk of the tests tells a loss once to each descriptor that was open, and to none opened later", async () => {
  const disk = new MemoryDisk();
  await disk.mkdir("/d", 0o700);
  const [file, other] = [await disk.create("/d/a", 0o600), await disk.open("/d/a", "read-write")];
  const [held, failing] = [await disk.openFilesystem("/d"), await disk.openFilesystem("/d")];
  await file.write(Buffer.from("lost"), 0);
  failOnce(disk, "syncFilesystem");
  const said = (call: Promise<void>): Promise<string> => call.then(() => "well", String);
  expect(await said(failing.sync())).toContain("EIO");
  const later = await disk.open("/d/a", "read-write");
  const answers: string[] = [];
  for (const one of [file, other, later, file, other]) answers.push(await said(one.fdatasync()));
  for (const one of [held, failing, held]) answers.push(await said(one.sync()));
  expect(answers.map((answer) => answer.slice(0, 10))).toEqual([
    ...["Error: EIO", "Error: EIO", "well", "well", "well"],
    ...["Error: EIO", "well", "well"],
  ]);
  expect(disk.content("/d/a", "durable")?.bytes.length).toBe(0);
});

/** What makes a person look before an archive is lost to rotation: a doubt of the agent, and an archive that is much too small. */
import { afterEach, expect, test } from "bun:test";
import type { Message } from "#wire/messages.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import { ServerWorld, storageConfig } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(maxBackups: number): Promise<ServerWorld> {
  world = await ServerWorld.start({ storages: [storageConfig({ maxBackups })] });
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function commit(
  w: ServerWorld,
  bytes: number,
  begin: Partial<Message<"begin">> = {},
): Promise<readonly string[]> {
  const { link } = await w.session(begin);
  const chunks = makeChunks(1, bytes);
  for (const chunk of chunks) link.data(chunk, { generation: 1 });
  link.send("finish", finishOf(chunks), 1);
  const { removed } = await w.wait(link.expect("committed"));
  return removed;
}

test("a session whose agent doubts its sources removes no archive, which is an event, and the next one rotates", async () => {
  const w = await start(1);
  await commit(w, 1000);
  expect(await commit(w, 1000, { holdRotation: "source /srv\u001b became empty" })).toEqual([]);
  const [held, ...others] = w.eventsOf("rotation.held");
  expect(others).toEqual([]);
  expect(held?.level).toBe("warn");
  expect(held?.message).toBe("rotation is held for this session of web-1/home: source /srv\\u{1b} became empty");
  expect(await commit(w, 1000)).toHaveLength(2);
});

test("an archive below half the median of those before it is an event, also when rotation removed them", async () => {
  const w = await start(3);
  for (const bytes of [1000, 900, 5000]) await commit(w, bytes);
  expect(w.eventsOf("archive_shrunk")).toEqual([]);
  await commit(w, 499);
  const [shrunk] = w.eventsOf("archive_shrunk");
  expect(shrunk?.level).toBe("warn");
  expect(shrunk?.fields).toMatchObject({ agent: "web-1", backup: "home", archiveBytes: 499, medianBytes: 1000 });
  // Of 900, 5000 and 499.
  await commit(w, 450);
  expect(w.eventsOf("archive_shrunk")).toHaveLength(1);
});

test("of a first or second archive nobody can say that it is small", async () => {
  const w = await start(3);
  for (const bytes of [1000, 10]) await commit(w, bytes);
  expect(w.eventsOf("archive_shrunk")).toEqual([]);
});

/** What is read back from the disk as JSON is checked like foreign input: it is right, or it is nothing. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { isName } from "#base/names.ts";
import { archiveFileName, archiveTimeMs, companions } from "#store/archive-names.ts";
import { encodeDocument, JOURNAL_MAGIC } from "#store/journal-format.ts";
import { type CommitIntent, parseCommitLine, parseHead, parseIntent } from "#store/records.ts";
import { openKit, RUN, SESSION_A } from "#test/support/store-kit.ts";

const HASH = "ab".repeat(32);
const intent: CommitIntent = {
  ...{ session: SESSION_A, agent: "web-01", backup: "home", run: RUN },
  archive: "web-01/home/2026-02-12T02-00-00-123Z.tar.gz",
  files: [{ file: 0, chunks: 1, bytes: 5, sha256: HASH, root: HASH }],
  ...{ entries: 1, rawBytes: 5, problems: 0 },
};

test("any time of an archive's name is found again in it", () => {
  const times = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
  fc.assert(
    fc.property(times, fc.constantFrom("gzip" as const, "zst" as const), (timeMs, mode) => {
      const name = archiveFileName(timeMs, mode);
      expect(archiveTimeMs(name)).toBe(timeMs);
      expect(Object.values(companions(name)).filter((each) => archiveTimeMs(each) !== undefined)).toEqual([name]);
    }),
  );
});

test("whatever a journal or the commit log holds, reading it never throws", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.jsonValue(), fc.record({ session: fc.string(), files: fc.array(fc.anything()) })),
      (value) => {
        expect(parseIntent(value)).toBeUndefined();
        expect(parseHead(value)).toBeUndefined();
        expect(parseCommitLine(String(JSON.stringify(value)))).toBeUndefined();
      },
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => expect(parseCommitLine(text)).toBeUndefined()));
});

test("an intent with any one field changed to something else names no file outside its entry's directory", () => {
  const evil = fc.oneof(
    fc.constantFrom("..", "../..", "/etc/passwd", ".nbackup", "web-01/../../etc/2026-02-12T02-00-00-123Z.tar.gz", ""),
    fc.string(),
    fc.jsonValue(),
  );
  expect(parseIntent(intent)).toEqual(intent);
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(intent)), evil, (key, value) => {
      const parsed = parseIntent({ ...intent, [key]: value });
      if (parsed === undefined) return;
      expect([isName(parsed.agent), isName(parsed.backup)]).toEqual([true, true]);
      expect(parsed.archive.startsWith(`${parsed.agent}/${parsed.backup}/2`)).toBeTrue();
      expect(parsed.archive.split("/")).toHaveLength(3);
    }),
  );
});

test("an intent that is not its session's own, or no intent, is not carried out: the left-over is removed", async () => {
  for (const body of [{ ...intent, session: RUN }, { ...intent, agent: ".." }, { ...intent, files: [] }, null]) {
    const kit = await openKit();
    await kit.storage.close();
    const directory = `/srv/backup/.nbackup/sessions/${SESSION_A}`;
    await kit.disk.mkdir(directory, 0o700);
    kit.disk.plant(`${directory}/archive.part`, Buffer.from("bytes"));
    kit.disk.plant(`${directory}/journal`, Buffer.concat([JOURNAL_MAGIC, encodeDocument("intent", body)]));
    const again = await openKit({ disk: kit.disk });
    expect([...kit.disk.tree("/srv/backup").keys()].filter((path) => !path.startsWith(".nbackup"))).toEqual([]);
    expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
    await again.storage.close();
    expect(kit.disk.openFiles).toBe(0);
  }
});

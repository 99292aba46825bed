/** The agent's state directory at the start of a daemon. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { takeStateDir } from "#bin/state-disk.ts";

test("what a crash left half-written is removed at the start, and what another process writes right now is not", async () => {
  const stateDir = mkdtempSync(path.join(tmpdir(), "nbackup-state-"));
  const entries = path.join(stateDir, "entries");
  mkdirSync(entries);
  const ended = Bun.spawn(["true"]);
  await ended.exited;
  const kept = ["home.json", `other.json.${process.ppid}.new`, "notes.new"];
  for (const name of [`home.json.${ended.pid}.new`, `home.json.${process.pid}.new`, ...kept]) {
    writeFileSync(path.join(entries, name), "{");
  }
  await takeStateDir(stateDir);
  expect(readdirSync(entries).sort()).toEqual(kept.sort());
  rmSync(stateDir, { recursive: true });
});

/** Parts of the daemon as functions of values: what counts after a reload, what is made up for, which sources changed, who is warned. */
import { describe, expect, test } from "bun:test";
import { CertificateWatch } from "#observe/certificate-watch.ts";
import {
  emptyState,
  type EntryState,
  parseState,
  recalled,
  withEnd,
  withHandled,
  withStart,
} from "#agent/entry-state.ts";
import { reloadedConfig } from "#agent/reload.ts";
import type { BackupResult } from "#agent/result.ts";
import { changedSources, mountOf, parseMounts, type SourceFacts } from "#archive/source-facts.ts";
import { NO_SOCKETS } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { localZone } from "#bin/local-zone.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { agentOf, agentYaml } from "#test/support/config-fixtures.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe("a configuration that is read again", () => {
  const running = agentOf(agentYaml("logging: {level: info}")).config;

  test("counts as a whole, but for what only a start can change, which is named", () => {
    const text = agentYaml("logging: {level: debug, format: text, file: /var/log/n.log}\ndaemon: {max_concurrent: 4}");
    const read = agentOf(text).config;
    const { config, restartKeys } = reloadedConfig(running, read);
    expect(restartKeys).toEqual(["logging.format"]);
    expect(config.logging).toEqual({ ...read.logging, format: "json" });
    expect(config.daemon.maxConcurrent).toBe(4);
    expect(reloadedConfig(running, running)).toEqual({ config: running, restartKeys: [] });
  });

  test("with another name keeps the name and its certificates", () => {
    const text = agentYaml("")
      .replace("name: web-01", "name: web-02, state_dir: /srv/state")
      .replace("c.pem", "web-02.pem");
    const { config, restartKeys } = reloadedConfig(running, agentOf(text).config);
    expect(restartKeys).toEqual(["agent.name", "agent.state_dir"]);
    expect(config.agent).toEqual(running.agent);
    expect(config.tls).toEqual(running.tls);
  });
});

describe("a run that did not come to its end", () => {
  const trigger = { kind: "schedule", dueMs: 1000 } as const;
  const result = (failure: Failure | undefined): BackupResult => ({
    ...{ backup: "home", storage: "main", session: undefined, archive: undefined, sha256: undefined, failure },
    ...{
      entries: 0,
      rawBytes: 0,
      archiveBytes: 0,
      resentBytes: 0,
      reconnects: 0,
      problems: [],
      problemCount: 0,
      sockets: NO_SOCKETS,
    },
    ...{ removed: [], verify: "none", durationMs: 5, result: failure === undefined ? "committed" : "failed" },
  });
  const cutOff = (state: EntryState): number | undefined => recalled(state, "0 2 * * *").cutOff?.dueMs;
  const started = withStart(emptyState("home"), trigger, 1100);

  test("because of a crash is made up for once: what makes up for it may be what brings the machine down", () => {
    expect(cutOff(started)).toBe(1000);
    expect(cutOff(withStart(started, { kind: "cut-off", dueMs: 1000 }, 1200))).toBeUndefined();
    expect(cutOff(withStart(started, { kind: "missed", dueMs: 3000 }, 1200))).toBe(3000);
  });

  test("because it was stopped on purpose is made up for however often that happens", () => {
    const stopped = result(new Failure("E_INTERRUPTED", "interrupted"));
    const once = withEnd(started, trigger, 1100, stopped, undefined);
    expect(cutOff(once)).toBe(1000);
    const again = { kind: "cut-off", dueMs: 1000 } as const;
    expect(cutOff(withEnd(withStart(once, again, 1200), again, 1200, stopped, undefined))).toBe(1000);
  });

  test("is not one that failed, and one by hand changes nothing about it", () => {
    expect(cutOff(withEnd(started, trigger, 1100, result(new Failure("E_FULL", "full")), undefined))).toBeUndefined();
    expect(cutOff(withEnd(started, trigger, 1100, result(undefined), undefined))).toBeUndefined();
    const byHand = { kind: "once" } as const;
    const stopped = withEnd(started, trigger, 1100, result(new Failure("E_INTERRUPTED", "interrupted")), undefined);
    expect(cutOff(withEnd(withStart(stopped, byHand, 1300), byHand, 1300, result(undefined), undefined))).toBe(1000);
    expect(cutOff(withStart(emptyState("home"), byHand, 1300))).toBeUndefined();
  });

  test("because it had not begun is made up for until it begins, also beside an older one that crashed", () => {
    const waiting = withHandled(started, "0 2 * * *", 3000, 3000);
    expect(recalled(waiting, "0 2 * * *")).toEqual({ handledMs: 3000, cutOff: { dueMs: 3000, waited: true } });
    expect(parseState(JSON.parse(JSON.stringify(waiting)), "home")).toEqual(waiting);
    expect(cutOff(withHandled(waiting, "0 2 * * *", 4000))).toBe(3000);
    expect(cutOff(withHandled(emptyState("home"), "0 2 * * *", 3000, null))).toBeUndefined();
    const begun = { kind: "schedule", dueMs: 3000 } as const;
    expect(withStart(waiting, begun, 3100).stopped).toBeNull();
  });

  test("what was dealt with counts for the same expression only", () => {
    const state = withHandled(emptyState("home"), "0 2 * * *", 5000);
    expect(recalled(state, "0 2 * * *").handledMs).toBe(5000);
    expect(recalled(state, "0 3 * * *").handledMs).toBeUndefined();
  });
});

describe("a source", () => {
  const was: SourceFacts = {
    ...{ path: "/srv", kind: "directory", empty: false, device: "1", filesystem: "aa" },
    mount: { point: "/srv", type: "ext4", source: "/dev/sdb1" },
  };
  const root = { point: "/", type: "ext4", source: "/dev/sda1" };
  const cases: readonly [string, Partial<SourceFacts>, string | undefined][] = [
    ["that is as it was", {}, undefined],
    ["whose device got another number when the machine started", { device: "2" }, undefined],
    ["on a network filesystem that was mounted anew", { device: "2", filesystem: "bb" }, undefined],
    ["whose disk is mounted elsewhere as well", { mount: root, device: "2" }, undefined],
    [
      "whose disk is not mounted",
      { device: "2", filesystem: "bb", mount: root },
      "lies on another device: /dev/sda1 (ext4) mounted at /, before /dev/sdb1 (ext4) mounted at /srv",
    ],
    [
      "on another device of which nobody knows the mount",
      { device: "2", filesystem: "", mount: null },
      "lies on another device: device 2, before /dev/sdb1 (ext4) mounted at /srv",
    ],
    ["that became empty", { empty: true }, "became empty"],
    ["that is gone and may be", { kind: "missing", empty: true, device: "", filesystem: "", mount: null }, "is gone"],
  ];
  for (const [what, now, change] of cases) {
    test(`${what} ${change === undefined ? "is no event" : "is one"}`, () => {
      expect(changedSources([was], [{ ...was, ...now }])).toEqual(
        change === undefined ? [] : [`source /srv ${change}`],
      );
    });
  }

  test("that is new, was empty before, or came back says nothing", () => {
    expect(changedSources([], [was])).toEqual([]);
    expect(changedSources([{ ...was, empty: true }], [{ ...was, empty: true }])).toEqual([]);
    expect(changedSources([{ ...was, kind: "missing", device: "" }], [was])).toEqual([]);
  });

  test("lies on the innermost mount, of several at one place on the last", () => {
    const mounts = parseMounts(
      [
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
        "30 22 8:17 / /srv rw - ext4 /dev/sdb1 rw",
        "31 22 8:33 / /srv rw - xfs /dev/sdc1 rw",
        "32 22 0:40 / /mnt/a\\040b\\134c rw shared:7 master:1 - nfs4 host:/x\\040y rw",
        "not a mount",
        "",
      ].join("\n"),
    );
    expect(mountOf(mounts, "/srv/data")).toEqual({ point: "/srv", type: "xfs", source: "/dev/sdc1" });
    expect(mountOf(mounts, "/srvx")?.point).toBe("/");
    expect(mountOf(mounts, "/mnt/a b\\c")).toEqual({ point: "/mnt/a b\\c", type: "nfs4", source: "host:/x y" });
    expect(mountOf([], "/srv")).toBeNull();
  });
});

describe("a certificate near its end", () => {
  test("is told 30, 7 and 1 days before and when it has expired, once each, and again after a reload", async () => {
    const clock = new SimClock();
    const events: ObservedEvent[] = [];
    const watch = new CertificateWatch(clock, { emit: (event) => void events.push(event) });
    const certificates = [
      { file: "a.pem", notAfterMs: clock.wall() + 40 * DAY_MS + HOUR_MS / 2 },
      { file: "ca.pem", notAfterMs: clock.wall() + 400 * DAY_MS },
    ];
    watch.watch(certificates);
    expect(events).toEqual([]);
    await clock.advance(45 * DAY_MS);
    expect(events.map(({ kind, level, message }) => [kind, level, message])).toEqual([
      ["certificate.expiring", "warn", "a.pem expires in 29d 23h"],
      ["certificate.expiring", "warn", "a.pem expires in 6d 23h"],
      ["certificate.expiring", "error", "a.pem expires in 23h 30m"],
      ["certificate.expiring", "error", "a.pem has expired"],
    ]);
    watch.watch(certificates);
    expect(events).toHaveLength(5);
    watch.watch([{ file: "a.pem", notAfterMs: clock.wall() + 400 * DAY_MS }]);
    await clock.advance(DAY_MS);
    expect(events).toHaveLength(5);
    watch.stop();
    expect(clock.pendingCount).toBe(0);
  });
});

test("the time zone is that of TZ, or the machine's when TZ is none", () => {
  expect(localZone({ TZ: "Europe/Berlin" })).toBe("Europe/Berlin");
  expect(localZone({ TZ: ":Asia/Tokyo" })).toBe("Asia/Tokyo");
  for (const TZ of [undefined, "", "CET-1CEST,M3.5.0", "../../etc/passwd"]) {
    expect(() => new Intl.DateTimeFormat("en", { timeZone: localZone({ TZ }) })).not.toThrow();
  }
});

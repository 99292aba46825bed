/** The parts of the pipeline that need no threads: slabs, batches of problems, priorities, number of threads. */
import { describe, expect, test } from "bun:test";
import { PATH_BYTES_MAX } from "#archive/scan.ts";
import { CHUNK_BYTES_MAX, DEFAULT_CHUNK_BYTES } from "#base/chunk-size.ts";
import { type Problem, UNREAD_BYTES_MAX, UNREAD_PATHS_MAX } from "#base/chunk.ts";
import { MiB } from "#base/units.ts";
import { affinityCount, automaticWorkers, quotaCores, WORKERS_AUTOMATIC_MAX } from "#agent/pipeline-cores.ts";
import { ioPriorityNumber } from "#agent/pipeline-priority.ts";
import { PROBLEMS_KEPT_MAX, ProblemBatches, SOCKETS_KEPT_MAX } from "#agent/pipeline-problems.ts";
import { makeSharedMemory, SlabControl, slabBytes, slabCount } from "#agent/pipeline-slabs.ts";
import { storedBytesMax } from "#compress/codec.ts";

describe("slabs", () => {
  test("hold the longest chunk raw and compressed, and are few", () => {
    for (const mode of ["gzip", "zst"] as const) {
      const bytes = slabBytes(CHUNK_BYTES_MAX, mode);
      expect(bytes).toBeGreaterThanOrEqual(storedBytesMax(mode, CHUNK_BYTES_MAX + MiB));
      expect(bytes).toBeGreaterThan(CHUNK_BYTES_MAX + MiB);
      for (const workers of [1, 2, 8]) {
        const usual = slabBytes(DEFAULT_CHUNK_BYTES[mode], mode);
        const count = slabCount(workers, usual);
        expect(count).toBeGreaterThanOrEqual(workers + 2);
        expect(count).toBeLessThanOrEqual(2 * workers + 2);
        expect((count - workers - 2) * usual).toBeLessThanOrEqual(8 * MiB);
      }
    }
  });
  test("are taken and given back one owner at a time", () => {
    const memory = makeSharedMemory(3, 1000);
    const reader = new SlabControl(memory);
    const main = new SlabControl(memory);
    expect([reader.take(), reader.take(), reader.take()]).toEqual([0, 1, 2]);
    main.give(1);
    expect(reader.take()).toBe(1);
    main.give(2);
    expect(() => main.give(2)).toThrow("twice");
  });
  test("are refused after the stop", () => {
    const memory = makeSharedMemory(1, 1000);
    const reader = new SlabControl(memory);
    new SlabControl(memory).stop();
    expect(reader.take()).toBeUndefined();
    expect(reader.stopped).toBe(true);
  });
  test("come with the path that the reader published last", () => {
    const memory = makeSharedMemory(1, 1000);
    const reader = new SlabControl(memory);
    const main = new SlabControl(memory);
    expect(main.currentPath().length).toBe(0);
    reader.publishPath(Buffer.from("/srv/long name"));
    reader.publishPath(Buffer.from("/srv/\xff", "latin1"));
    expect(Buffer.from(main.currentPath()).toString("latin1")).toBe("/srv/\xff");
    reader.publishPath(new Uint8Array(PATH_BYTES_MAX).fill(0x61));
    expect(main.currentPath().length).toBe(PATH_BYTES_MAX);
  });
});

describe("problems", () => {
  test("come in batches, copied, the last ones when flushed", () => {
    const batches: (readonly Problem[])[] = [];
    const problems = new ProblemBatches((batch) => batches.push(batch));
    const path = Buffer.from("/a");
    problems.add(path, "vanished", "ENOENT");
    path.fill(0x62);
    problems.add(path, "grew");
    expect(batches).toEqual([]);
    problems.flush();
    problems.flush();
    expect(batches.map((batch) => batch.map((p) => [Buffer.from(p.path).toString(), p.reason, p.errno]))).toEqual([
      [
        ["/a", "vanished", "ENOENT"],
        ["bb", "grew", undefined],
      ],
    ]);
  });
  test("are all counted, but only so many are kept", () => {
    let kept = 0;
    let longest = 0;
    const problems = new ProblemBatches((batch) => {
      kept += batch.length;
      longest = Math.max(longest, batch.length);
    });
    for (let i = 0; i < PROBLEMS_KEPT_MAX + 500; i += 1) problems.add(Buffer.from("/x"), "unreadable");
    problems.flush();
    expect([kept, problems.count]).toEqual([PROBLEMS_KEPT_MAX, PROBLEMS_KEPT_MAX + 500]);
    expect(longest).toBeLessThanOrEqual(256);
  });
  test("are not the sockets, which are counted by themselves and take no names away", () => {
    const posted: Problem[] = [];
    const problems = new ProblemBatches((batch) => posted.push(...batch));
    const path = Buffer.from("/a");
    for (let i = 0; i < SOCKETS_KEPT_MAX + 5; i += 1) problems.add(path, "socket");
    path.fill(0x62);
    problems.add(Buffer.from("/gone"), "vanished");
    problems.flush();
    expect([problems.count, posted.map(({ reason }) => reason)]).toEqual([1, ["vanished"]]);
    const { count, paths } = problems.findings().sockets;
    expect([count, paths.length]).toEqual([SOCKETS_KEPT_MAX + 5, SOCKETS_KEPT_MAX]);
    expect(Buffer.from(paths[0] ?? []).toString()).toBe("/a");
  });
});

describe("the paths that were not read", () => {
  const unreadOf = (...problems: readonly (readonly [string, Problem["reason"]])[]): readonly string[] | undefined => {
    const batches = new ProblemBatches(() => undefined);
    for (const [path, reason] of problems) batches.add(Buffer.from(path), reason);
    return batches.findings().unread?.map((path) => Buffer.from(path).toString());
  };
  test("are those that lie where they were; what is in the archive in another form is none", () => {
    expect(unreadOf()).toEqual([]);
    expect(unreadOf(["/a", "unreadable"], ["/b", "grew"], ["/c", "xattrs-too-large"], ["/d", "unsupported"])).toEqual([
      "/a",
      "/d",
    ]);
  });
  test("are not told when something went meanwhile, which may lie under another name", () => {
    for (const reason of ["vanished", "type-changed"] as const) {
      expect(unreadOf(["/a", "unreadable"], ["/b", reason], ["/c", "unreadable"])).toBeUndefined();
    }
  });
  test("are told all or not at all", () => {
    const paths = Array.from({ length: UNREAD_PATHS_MAX }, (_, i) => [`/${i}`, "unreadable"] as const);
    expect(unreadOf(...paths)).toHaveLength(UNREAD_PATHS_MAX);
    expect(unreadOf(...paths, ["/more", "unreadable"])).toBeUndefined();
    expect(unreadOf(["/".padEnd(UNREAD_BYTES_MAX, "x"), "unreadable"])).toHaveLength(1);
    expect(unreadOf(["/".padEnd(UNREAD_BYTES_MAX, "x"), "unreadable"], ["/", "unreadable"])).toBeUndefined();
  });
});

describe("priorities", () => {
  test("are the numbers of ioprio_set", () => {
    expect(ioPriorityNumber({ kind: "none" })).toBe(0);
    expect(ioPriorityNumber({ kind: "idle" })).toBe(3 << 13);
    expect(ioPriorityNumber({ kind: "best-effort", priority: 7 })).toBe((2 << 13) | 7);
    expect(ioPriorityNumber({ kind: "realtime", priority: 0 })).toBe(1 << 13);
  });
});

const status = (list: string): string => `Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t${list}\nMems:\t1\n`;
const files =
  (content: Record<string, string>) =>
  (path: string): string | undefined =>
    content[path];

describe("the number of compress threads", () => {
  test("is that of the cores the process may run on, up to a limit", () => {
    expect(affinityCount(status("0-3,8,10-11"))).toBe(7);
    expect(affinityCount(status("0"))).toBe(1);
    expect(affinityCount("nothing")).toBeUndefined();
    expect(affinityCount(status("x"))).toBeUndefined();
    expect(automaticWorkers(files({ "/proc/self/status": status("0-63") }))).toBe(WORKERS_AUTOMATIC_MAX);
    expect(automaticWorkers(files({ "/proc/self/status": status("0-2") }))).toBe(3);
    expect(automaticWorkers(files({}))).toBe(1);
  });
  test("respects the smallest quota of a control group and those above it (v2)", () => {
    const v2 = files({
      "/proc/self/status": status("0-7"),
      "/proc/self/cgroup": "0::/system.slice/nbackup.service\n",
      "/sys/fs/cgroup/system.slice/nbackup.service/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/system.slice/cpu.max": "250000 100000\n",
    });
    expect(quotaCores(v2)).toBe(2.5);
    expect(automaticWorkers(v2)).toBe(3);
  });
  test("respects the quota of a container that sees only its own root", () => {
    const container = files({
      "/proc/self/status": status("0-7"),
      "/proc/self/cgroup": "0::/../../docker/abc\n",
      "/sys/fs/cgroup/cpu.max": "50000 100000\n",
    });
    expect(automaticWorkers(container)).toBe(1);
  });
  test("respects the quota of version 1, whatever its controllers are mounted as", () => {
    const named = files({
      "/proc/self/status": status("0-7"),
      "/proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/jobs\n1:name=systemd:/\n",
      "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us": "400000\n",
      "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us": "100000\n",
    });
    expect(automaticWorkers(named)).toBe(4);
    const unlimited = files({
      "/proc/self/status": status("0-1"),
      "/proc/self/cgroup": "3:cpu:/\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    });
    expect(quotaCores(unlimited)).toBeUndefined();
    expect(automaticWorkers(unlimited)).toBe(2);
  });
});

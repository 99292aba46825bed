/**
 * How many compress threads to use when nobody says: the cores this process may use, by CPU affinity and by the quota of
 * its control group (v1 and v2), at most 8. Reads nothing itself; the files come from the caller.
 */

/** Beyond this, the reader and the network are the limit, and every thread costs memory. */
export const WORKERS_AUTOMATIC_MAX = 8;

/** The text of a file under /proc or /sys; undefined when it cannot be read. */
export type ReadText = (path: string) => string | undefined;

export function automaticWorkers(readText: ReadText): number {
  const affinity = affinityCount(readText("/proc/self/status") ?? "");
  const quota = quotaCores(readText);
  return Math.max(1, Math.min(WORKERS_AUTOMATIC_MAX, affinity ?? 1, Math.ceil(quota ?? WORKERS_AUTOMATIC_MAX)));
}

/** Cores in `Cpus_allowed_list: 0-3,8` of /proc/self/status; undefined when it is not there. */
export function affinityCount(status: string): number | undefined {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1];
  if (list === undefined) return undefined;
  let count = 0;
  for (const part of list.split(",")) {
    const range = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (range === null) return undefined;
    count += Number(range[2] ?? range[1]) - Number(range[1]) + 1;
  }
  return count > 0 ? count : undefined;
}

/** Cores' worth of time that the control groups of this process grant; undefined without a limit. */
export function quotaCores(readText: ReadText): number | undefined {
  let least: number | undefined;
  for (const line of (readText("/proc/self/cgroup") ?? "").split("\n")) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const controllers = match[2] ?? "";
    const path = match[3] ?? "/";
    const quotas =
      match[1] === "0" && controllers === ""
        ? ancestors(path).map((group) => quotaV2(readText(`/sys/fs/cgroup${group}/cpu.max`)))
        : controllers.split(",").includes("cpu")
          ? ancestors(path).map((group) => quotaV1(readText, controllers, group))
          : [];
    for (const quota of quotas) if (quota !== undefined) least = Math.min(least ?? quota, quota);
  }
  return least;
}

/** `/a/b` as `/a/b`, `/a` and the empty text of the root: a limit above counts too, and in a container only that is seen. */
function ancestors(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  return Array.from({ length: names.length + 1 }, (_, i) =>
    names
      .slice(0, names.length - i)
      .map((name) => `/${name}`)
      .join(""),
  );
}

/** `200000 100000`: microseconds of time per period; `max` is no limit. */
function quotaV2(text: string | undefined): number | undefined {
  const match = /^(\d+) (\d+)/.exec(text ?? "");
  return match === null ? undefined : ratio(Number(match[1]), Number(match[2]));
}

function quotaV1(readText: ReadText, controllers: string, group: string): number | undefined {
  for (const mount of new Set([controllers, "cpu"])) {
    const quota = Number(readText(`/sys/fs/cgroup/${mount}${group}/cpu.cfs_quota_us`) ?? -1);
    const period = Number(readText(`/sys/fs/cgroup/${mount}${group}/cpu.cfs_period_us`) ?? -1);
    if (quota > 0 && period > 0) return ratio(quota, period);
  }
  return undefined;
}

function ratio(quota: number, period: number): number | undefined {
  return quota > 0 && period > 0 ? quota / period : undefined;
}

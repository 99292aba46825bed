/** One item under `backups` of agent.yaml. */
import { bandwidthLimit, toBandwidth } from "./bandwidth-schema.ts";
import { dscp, fileName, httpUrl, schedule, sourcePath } from "./agent-values.ts";
import { described, list, optional, required, section, sectionOr, type SectionOf, setting } from "./parts.ts";
import type { BackupEntryConfig, NotifyConfig, PortRotationConfig } from "./types.ts";
import { duration, flag, integer, name, text, word } from "./values.ts";

const SOURCES_MAX = 1000;
const EXCLUDES_MAX = 10_000;
const MARKS_MAX = 100;
const STREAMS_MAX = 255;
const DAY_MS = 86_400_000;

export const sourcesSchema = list(
  section({
    path: required(
      sourcePath(),
      "A directory, with everything below it, or a single file. None may lie inside another of the entry.",
    ),
    optional: setting(
      flag(),
      false,
      "Pass over the source when it is missing, instead of failing the entry.",
      "An unmounted disk must not become a good empty backup.",
    ),
  }),
  { min: 1, max: SOURCES_MAX, things: "sources" },
);

const autoScaler = sectionOr(
  {
    enabled: setting(
      flag(),
      true,
      "Let the number of active streams follow the need, from one up to parallels. Off, all streams are always active.",
      "A stream more helps only where each single TCP flow is limited; one that helps nothing costs a connection.",
    ),
    mode: setting(
      word(["efficiency", "adaptive"]),
      "efficiency",
      "When to try more streams. `efficiency`: when there is more to send than the streams can take; and fewer when there is less than 0.7 of it. `adaptive`: whenever they are busy. Either way growth is kept if it raised the throughput, else taken back, and not tried again for half a minute.",
      "It tries nothing while there is no need, and gives back streams that are not needed any more.",
    ),
  },
  "a section with enabled and mode, or one of the words efficiency and adaptive",
  (input) => (typeof input === "string" ? { mode: input } : input),
);

const portRotation = section({
  mode: setting(
    word(["off", "per-n-chunks"]),
    "off",
    "Reconnect each stream from a new port after a number of chunks, at most a quarter of the streams (but one at least) at a time. With parallels 0 it is the session connection.",
    "Few networks need it.",
  ),
  chunks_per_cycle: setting(integer({ min: 1, max: 1_000_000 }), 500, "That number."),
});

const command = (): ReturnType<typeof text> => text("a command for /bin/sh of at most 4096 characters");

const hooks = section({
  before: optional(
    command(),
    "Run before the sources are looked at, for instance to dump a database or make a snapshot. When it fails the run is cancelled (E_HOOK).",
  ),
  after: optional(
    command(),
    "Run after every run that `before` did not cancel, whatever became of it; NBACKUP_RESULT says it.",
  ),
  on_failure: optional(command(), "Run after `after` when there is no archive, also when `before` cancelled the run."),
  timeout: setting(
    duration({ min: 1000, max: 7 * DAY_MS }),
    "1h",
    "How long each of them may take. Then it and all that it started are ended.",
    "Longer than the dump of a large database, shorter than the pause between two nights.",
  ),
});

const notifyShape = {
  url: optional(httpUrl(), "Where a short message is posted to; the URL is never logged."),
  failure_url: optional(
    httpUrl(),
    "Where it is posted to after a failure.",
    "url with /fail behind its path, as healthchecks services have it",
  ),
  on: setting(
    list(word(["failure", "success"]), { min: 1, max: 2, things: "of failure and success" }),
    ["failure", "success"],
    "After which results. A run that was interrupted on purpose is neither.",
    "A service that waits for successes finds out that a machine is gone, which no message of failure could tell.",
  ),
};

const shape = {
  name: required(name(), "Name of the entry, unique in the file; part of the archive's path."),
  storage: required(name(), "The storage on the server that the archives go to."),
  schedule: optional(
    schedule(),
    "When the daemon runs the entry, as five fields of cron in local time. A time that is skipped when the clocks go forward runs right after, one that comes twice runs once; with a star or step among minutes and hours the entry runs as time passes.",
    "none, so that it runs only by --once",
  ),
  schedule_jitter: setting(
    duration({ min: 0, max: DAY_MS }),
    0,
    "Each run begins up to so much later, by a part of it that is always the same for the same agent, entry and time; at most half of the time until the next run.",
    "A server lets agents wait in line; with hundreds of them 30m spares it the rush.",
  ),
  run_missed: setting(
    flag(),
    false,
    "A time that came while the machine slept or the daemon did not run is made up for, once, as soon as it is back. So is a run that a stop or crash cut short.",
    "A server that was down all day should not begin to back up at noon unless that is wanted.",
  ),
  sources: required(sourcesSchema, "What is backed up."),
  exclude: setting(
    list(text(`a pattern of at most 4096 characters`), { min: 0, max: EXCLUDES_MAX, things: "patterns" }),
    [],
    "Patterns of what is left out: `*.log`, `node_modules/**`, `*/tmp/sess*`, `/abs/path`. The last one that matches decides, and one with ! in front (`!keep.log`) keeps what it matches; but nothing below a directory that is left out. Quote those that begin with a star or !.",
  ),
  one_file_system: setting(
    flag(),
    false,
    "Stay on the filesystem of each source: what is mounted below it is stored as an empty directory. A btrfs subvolume counts as a filesystem of its own.",
    "Who names / as a source mostly means the mounted disks too, and a backup should rather hold too much than too little. /proc, /sys and the like are never gone into.",
  ),
  exclude_caches: setting(
    flag(),
    false,
    "Leave out what is in directories with a CACHEDIR.TAG that begins with the signature of https://bford.info/cachedir/. The directory and the tag are kept; a directory that is a source is backed up all the same.",
    "Any program can put the tag anywhere; whether it may decide what is backed up is the administrator's choice.",
  ),
  exclude_if_present: setting(
    list(fileName(), { min: 0, max: MARKS_MAX, things: "names" }),
    [],
    "Leave out what is in directories that hold something of one of these names, for instance `.nobackup`. The directory and what marks it are kept; a directory that is a source is backed up all the same.",
  ),
  parallels: setting(
    integer({ min: 0, max: STREAMS_MAX }),
    0,
    "0: one stream, on the session connection. 1 to 255: the most data streams.",
    "One stream fills most links; more help where each single TCP flow is limited.",
  ),
  auto_scaler: described(autoScaler, "How many of the streams are active."),
  bandwidth_limit: optional(
    bandwidthLimit(),
    "Bytes per second over all streams of the entry. As a list, a timetable: each window has from, to and limit, outside of all there is no limit. Changes count for a run that is under way.",
    "none",
    "The limit that is right depends on the link.",
  ),
  dscp: optional(dscp(), "Mark of the data sockets' packets, IPv4 and IPv6."),
  port_rotation: described(portRotation, "For networks that treat long-lived connections badly."),
  hooks: described(
    hooks,
    "Commands around each run, also with --once. They get the facts as NBACKUP_… in their environment; what they print is logged.",
  ),
  notify: described(section(notifyShape), "Messages about results, for instance to a healthchecks service."),
};

export const backupSchema = section(shape);

export function toBackupEntry(raw: SectionOf<typeof shape>): BackupEntryConfig {
  return {
    name: raw.name,
    storage: raw.storage,
    schedule: raw.schedule,
    sources: raw.sources,
    exclude: raw.exclude,
    oneFileSystem: raw.one_file_system,
    excludeCaches: raw.exclude_caches,
    excludeIfPresent: raw.exclude_if_present,
    parallels: raw.parallels,
    autoScaler: raw.auto_scaler,
    ...toBandwidth(raw.bandwidth_limit),
    dscp: raw.dscp,
    portRotation: toPortRotation(raw.port_rotation.mode, raw.port_rotation.chunks_per_cycle),
    scheduleJitterMs: raw.schedule_jitter,
    runMissed: raw.run_missed,
    hooks: {
      before: raw.hooks.before,
      after: raw.hooks.after,
      onFailure: raw.hooks.on_failure,
      timeoutMs: raw.hooks.timeout,
    },
    notify: toNotify(raw.notify),
  };
}

function toNotify({ url, failure_url, on }: SectionOf<typeof notifyShape>): NotifyConfig | undefined {
  if (url === undefined) return undefined;
  return {
    url,
    failureUrl: failure_url ?? failUrl(url),
    on: { failure: on.includes("failure"), success: on.includes("success") },
  };
}

/** `https://hc.example.com/ping/UUID` becomes `…/UUID/fail`, whatever query follows. */
function failUrl(url: string): string {
  const parsed = new URL(url);
  parsed.pathname = `${parsed.pathname.replace(/\/+$/, "")}/fail`;
  return parsed.href;
}

function toPortRotation(mode: "off" | "per-n-chunks", chunksPerCycle: number): PortRotationConfig {
  return mode === "off" ? { mode } : { mode, chunksPerCycle };
}

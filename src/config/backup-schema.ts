/** One item under `backups` of agent.yaml. */
import { KiB, TiB } from "#base/units.ts";
import { dscp, fileName, schedule, sourcePath } from "./agent-values.ts";
import { described, list, optional, required, section, sectionOr, type SectionOf, setting } from "./parts.ts";
import type { BackupEntryConfig, PortRotationConfig } from "./types.ts";
import { flag, integer, name, size, text, word } from "./values.ts";

const SOURCES_MAX = 1000;
const EXCLUDES_MAX = 10_000;
const MARKS_MAX = 100;
const STREAMS_MAX = 255;

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
      "Let the number of active streams follow the need, up to parallels.",
      "Off, all streams are always active.",
    ),
    mode: setting(
      word(["efficiency", "adaptive"]),
      "efficiency",
      "By the rates of producing and sending, or by trying one stream more.",
      "It needs no trial that costs throughput.",
    ),
  },
  "a section with enabled and mode, or one of the words efficiency and adaptive",
  (input) => (typeof input === "string" ? { mode: input } : input),
);

const portRotation = section({
  mode: setting(
    word(["off", "per-n-chunks"]),
    "off",
    "Reconnect each stream from a new port after a number of chunks.",
    "Few networks need it.",
  ),
  chunks_per_cycle: setting(integer({ min: 1, max: 1_000_000 }), 500, "That number."),
});

const shape = {
  name: required(name(), "Name of the entry, unique in the file; part of the archive's path."),
  storage: required(name(), "The storage on the server that the archives go to."),
  schedule: optional(
    schedule(),
    "When the daemon runs the entry, as five fields of cron in local time.",
    "none, so that it runs only by --once",
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
    size({ min: 64 * KiB, max: TiB }),
    "Bytes per second over all streams of the entry.",
    "none",
    "The limit that is right depends on the link.",
  ),
  dscp: optional(dscp(), "Mark of the data sockets' packets, IPv4 and IPv6."),
  port_rotation: described(portRotation, "For networks that treat long-lived connections badly."),
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
    bandwidthLimitBytesPerSecond: raw.bandwidth_limit,
    dscp: raw.dscp,
    portRotation: toPortRotation(raw.port_rotation.mode, raw.port_rotation.chunks_per_cycle),
  };
}

function toPortRotation(mode: "off" | "per-n-chunks", chunksPerCycle: number): PortRotationConfig {
  return mode === "off" ? { mode } : { mode, chunksPerCycle };
}

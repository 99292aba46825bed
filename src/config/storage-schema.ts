/** One item under `storages` of server.yaml. */
import type { Compression } from "#base/chunk.ts";
import { GiB, KiB } from "#base/units.ts";
import {
  DEFAULT_GZIP_LEVEL,
  DEFAULT_RESERVE_BYTES_MAX,
  DEFAULT_RESERVE_PERCENT,
  DEFAULT_ZST_LEVEL,
} from "./defaults.ts";
import { list, optional, Refusal, required, type Schema, section, type SectionOf, setting, value } from "./parts.ts";
import type { Places } from "./places.ts";
import { agentGlob, reserve } from "./server-values.ts";
import type { StorageConfig } from "./types.ts";
import { duration, filePath, flag, integer, size, word } from "./values.ts";

/** The highest level of each mode: libdeflate's and zstd's own (above 19 zstd needs far more memory on both sides). */
export const LEVEL_MAX = { gzip: 12, zst: 19 } as const;
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

/** Any settings: what belongs there comes with object storage. */
function bucket(): Schema<null> {
  return value("a section of settings", (input) =>
    typeof input === "object" && input !== null && !Array.isArray(input) ? null : new Refusal(),
  );
}

const shape = {
  base_dir: required(
    filePath("a path of a directory other than /"),
    "Directory of the archives, made if it is missing. It may not lie inside another storage's.",
  ),
  max_backups: required(
    integer({ min: 1, max: 1_000_000 }),
    "How many good archives of each agent and backup entry are kept; older ones are removed after a commit.",
  ),
  compression_mode: setting(
    word(["gzip", "zst", "zstd"]),
    "gzip",
    "gzip makes .tar.gz, zst (or zstd) makes .tar.zst. The server tells the agents.",
    "Every tool on every machine opens it.",
  ),
  compression_level: optional(
    integer({ min: 1, max: LEVEL_MAX.zst }),
    "gzip: 1 to 12, zst: 1 to 19; higher is smaller and slower.",
    `${DEFAULT_GZIP_LEVEL} for gzip, ${DEFAULT_ZST_LEVEL} for zst`,
    "gzip 5 is the fastest level whose archives are no larger than those of gzip -6, zst 1 the fastest with archives smaller than those of zstd -1 (docs/benchmarks.md); gzip 1 is a third faster and a tenth larger than 5.",
  ),
  reserve: optional(
    reserve(),
    "Free space of the disk that backups never use.",
    "5% or 10gb, the smaller",
    "A full disk harms more than backups, and rotation needs room to work.",
  ),
  allow_agents: optional(
    list(agentGlob(), { min: 1, max: 10_000, things: "names" }),
    "Agents that may use the storage; `*` stands for any characters, `?` for one.",
    "all",
  ),
  min_age: setting(
    duration({ min: 0, max: 100 * YEAR_MS }),
    0,
    "Rotation never removes an archive younger than this.",
    "max_backups alone is what most expect.",
  ),
  assembler_mode: setting(
    word(["eager", "lazy"]),
    "eager",
    "eager: chunks are written at their place as they arrive. lazy: staged as files and assembled at the end.",
    "It writes everything once; lazy is for disks that dislike random writes, and needs 256mb of free space more for each session.",
  ),
  assembler_pending_mem_limit: setting(
    size({ min: 64 * KiB, max: 64 * GiB }),
    "8mb",
    "Memory for bytes that arrived out of order until they are hashed; beyond it they are read back from the file.",
    "Enough for the streams of one session on a healthy network.",
  ),
  chunk_shard_levels: setting(integer({ min: 1, max: 2 }), 1, "Levels of subdirectories for staged chunks, lazy mode."),
  chunk_fsync: setting(
    flag(),
    true,
    "Lazy mode: sync each staged chunk by itself, or all at once per acknowledgement. Either way acknowledged means durable.",
  ),
  verify_integrity: setting(
    flag(),
    false,
    "After a commit, and its answer to the agent, decompress and walk the archive before anything older is removed.",
    "Every chunk is already compared by digest; this reads the archive a second time.",
  ),
  allow_agent_restore: setting(
    flag(),
    true,
    "Agents may list, read and restore their own archives, over a connection that their certificate proves; false: only the server restores.",
    "On the day of the disaster the machine itself can be restored without anybody at the server.",
  ),
  scrub_days: setting(
    integer({ min: 0, max: 3650 }),
    0,
    "The server reads every archive again at least once in so many days, and marks what it finds damaged; 0: never by itself.",
    "It reads all of a storage, which is for its administrator to want; nbackup-server scrub does the same from a timer.",
  ),
  buckets: optional(list(bucket(), { min: 0, max: 100, things: "buckets" }), "Copies in object storage."),
};

export const storageSchema = section(shape);

export function compressionModeOf(word: "gzip" | "zst" | "zstd"): Compression["mode"] {
  return word === "gzip" ? "gzip" : "zst";
}

export function toStorage(name: string, raw: SectionOf<typeof shape>, places: Places): StorageConfig {
  const mode = compressionModeOf(raw.compression_mode);
  return {
    name,
    baseDir: places.absolute(raw.base_dir),
    maxBackups: raw.max_backups,
    compression: { mode, level: raw.compression_level ?? (mode === "gzip" ? DEFAULT_GZIP_LEVEL : DEFAULT_ZST_LEVEL) },
    reserve: raw.reserve ?? { percent: DEFAULT_RESERVE_PERCENT, bytesMax: DEFAULT_RESERVE_BYTES_MAX },
    allowAgents: raw.allow_agents,
    minAgeMs: raw.min_age,
    assembler: {
      mode: raw.assembler_mode,
      pendingMemBytesMax: raw.assembler_pending_mem_limit,
      chunkShardLevels: raw.chunk_shard_levels === 2 ? 2 : 1,
      chunkFsync: raw.chunk_fsync,
    },
    verifyIntegrity: raw.verify_integrity,
    allowAgentRestore: raw.allow_agent_restore,
    scrubEveryMs: raw.scrub_days * DAY_MS,
  };
}

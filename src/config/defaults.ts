/**
 * The defaults of both configuration files as numbers, where code other than the schemas wants to name them. Their
 * reasons stand beside the keys in the schemas, where the reference is generated from.
 */
import { GiB } from "#base/units.ts";
import type { ResourcesConfig } from "./types.ts";

export const DEFAULT_AGENT_CONFIG_FILE = "/etc/nbackup/agent.yaml";
export const DEFAULT_SERVER_CONFIG_FILE = "/etc/nbackup/server.yaml";

/**
 * compression_level where it is not set, by measurement (docs/benchmarks.md). gzip 5 is the fastest level whose archives are
 * not larger than those of `gzip -6`, which people compare with. zst 1 makes archives smaller than `zstd -1` does and is the
 * fastest of all; who has time for more sets it.
 */
export const DEFAULT_GZIP_LEVEL = 5;
export const DEFAULT_ZST_LEVEL = 1;

/** `reserve`: a full disk harms more than backups; 10 GB are room enough on disks where 5% would be a waste. */
export const DEFAULT_RESERVE_PERCENT = 5;
export const DEFAULT_RESERVE_BYTES_MAX = 10 * GiB;
export const DEFAULT_NICE = 10;

/** The nice value to run with: what is set counts; else a person waiting at a terminal is not slowed down. */
export function niceLevel(
  resources: ResourcesConfig,
  run: { readonly once: boolean; readonly terminal: boolean },
): number {
  if (resources.nice !== undefined) return resources.nice;
  return run.once && run.terminal ? 0 : DEFAULT_NICE;
}

/** Runs that once failed, with the options they had then, and what they found: each is run again for ever. */
import type { SimOptions } from "./options.ts";

export interface Regression {
  readonly seed: number;
  readonly options: SimOptions;
  /** What was wrong with nbackup. */
  readonly found: string;
}

export const REGRESSIONS: readonly Regression[] = [
  {
    seed: 15,
    found:
      "a commit that a restarted server carried out had no event: the session never ended for whoever reads events",
    options: {
      agents: 1,
      entries: 2,
      rounds: 3,
      tree: { files: 8, bytes: 7299, compressible: 0.7 },
      compression: "zst",
      chunkBytes: 65536,
      windowBytes: 5570560,
      parallels: 3,
      maxBackups: 3,
      sessionsMax: 32,
      paceMs: 50,
      network: { latencyMs: 1, bufferBytes: 16384 },
      disk: { delayMs: 5, pendingBytes: 65536 },
      assembler: { mode: "eager" },
      chunkBufferBytes: 0,
      retry: { maxAttempts: 1, initialDelayMs: 100, maxDelayMs: 2000 },
      giveUpAfterMs: 15000,
      sessionIdleTimeoutMs: 3600000,
      shutdownTimeoutMs: 0,
      healAtMs: 5528,
      faults: { delayMs: 1100, oneWayLossMs: 8567, serverKillCalls: 129, serverPowerCalls: 94 },
    },
  },
  {
    seed: 293,
    found:
      "under a bandwidth limit a late chunk was sent again on every stream, a second apart, and no copy ever arrived",
    options: {
      agents: 3,
      entries: 2,
      rounds: 2,
      tree: { files: 56, bytes: 71641, compressible: 0 },
      compression: "gzip",
      chunkBytes: 131072,
      windowBytes: 35389440,
      parallels: 255,
      maxBackups: 1,
      sessionsMax: 32,
      limitBytesPerSecond: 49229,
      paceMs: 50,
      network: { latencyMs: 5, bytesPerSecond: 1777478, bufferBytes: 262144 },
      disk: { delayMs: 1, pendingBytes: 8388608 },
      assembler: { mode: "eager" },
      chunkBufferBytes: 0,
      retry: { maxAttempts: 5, initialDelayMs: 100, maxDelayMs: 20000 },
      giveUpAfterMs: 15000,
      sessionIdleTimeoutMs: 5000,
      shutdownTimeoutMs: 10000,
      healAtMs: 43271,
      faults: { cutBytes: 576206, secondHostMs: 24932, serverPowerCalls: 353, agentKillEvents: 32, changingFiles: 47 },
    },
  },
  {
    seed: 2178,
    found:
      "a server that was stopped while it opened its storages left the sessions it had taken over with their files open",
    options: {
      agents: 1,
      entries: 1,
      rounds: 1,
      tree: { files: 6, bytes: 531476, compressible: 0.3 },
      compression: "gzip",
      chunkBytes: 65536,
      windowBytes: 5570560,
      parallels: 3,
      maxBackups: 3,
      sessionsMax: 32,
      paceMs: 0,
      network: { latencyMs: 20, bytesPerSecond: 379519, bufferBytes: 16384 },
      disk: { delayMs: 30, pendingBytes: 8388608 },
      assembler: { mode: "eager" },
      chunkBufferBytes: 0,
      retry: { maxAttempts: 5, initialDelayMs: 1000, maxDelayMs: 2000 },
      giveUpAfterMs: 60000,
      sessionIdleTimeoutMs: 30000,
      shutdownTimeoutMs: 1000,
      healAtMs: 33676,
      faults: { cutBytes: 8592, flipBytes: 1635249, serverUpgradeMs: 4015, eioCalls: 1313, agentPowerEvents: 1950 },
    },
  },
];

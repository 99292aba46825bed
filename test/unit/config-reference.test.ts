import { describe, expect, test } from "bun:test";
import path from "node:path";
import { configReference } from "#config/reference.ts";
import { agentOf, agentYaml, failureOf, serverOf, serverYaml } from "#test/support/config-fixtures.ts";

const DOCS = path.join(path.dirname(path.dirname(import.meta.dir)), "docs", "configuration.md");

/** Key and default of the specification, as they are to stand in the reference. */
const SPECIFIED: readonly [string, string][] = [
  ["backups[].one_file_system", "false"],
  ["backups[].exclude_caches", "false"],
  ["backups[].exclude_if_present", "none"],
  ["backups[].parallels", "0"],
  ["backups[].auto_scaler.enabled", "true"],
  ["backups[].auto_scaler.mode", "efficiency"],
  ["backups[].port_rotation.mode", "off"],
  ["backups[].port_rotation.chunks_per_cycle", "500"],
  ["retry.max_attempts", "5"],
  ["retry.initial_delay", "1s"],
  ["retry.max_delay", "5m"],
  ["resume.buffer_size", "256mb"],
  ["resume.chunk_size", "1mb for gzip, 4mb for zst"],
  ["resume.give_up_after", "24h"],
  ["resources.workers", "0"],
  ["resources.io_class", "best-effort-7"],
  ["daemon.control_channel.enabled", "true"],
  ["daemon.control_channel.keepalive_interval", "30s"],
  ["daemon.control_channel.reconnect_delay", "5s"],
  ["daemon.control_channel.max_reconnect_delay", "5m"],
  ["logging.level", "info"],
  ["logging.format", "json"],
  ["logging.stream_stats", "false"],
  ["server.listen", "0.0.0.0:9847"],
  ["server.max_sessions", "32"],
  ["server.memory_limit", "1gb"],
  ["server.session_idle_timeout", "24h"],
  ["server.shutdown_timeout", "60s"],
  ["storages.<name>.compression_mode", "gzip"],
  ["storages.<name>.reserve", "5% or 10gb, the smaller"],
  ["storages.<name>.min_age", "0"],
  ["storages.<name>.assembler_mode", "eager"],
  ["storages.<name>.assembler_pending_mem_limit", "8mb"],
  ["storages.<name>.chunk_shard_levels", "1"],
  ["storages.<name>.chunk_fsync", "true"],
  ["storages.<name>.verify_integrity", "false"],
  ["storages.<name>.allow_agent_restore", "true"],
  ["flow_rotation.enabled", "false"],
  ["flow_rotation.min_mbps", "1"],
  ["flow_rotation.eval_window", "60m"],
  ["flow_rotation.cooldown", "15m"],
  ["chunk_buffer.size", "0"],
  ["chunk_buffer.drain_ratio", "0.5"],
  ["control_lost_grace_period", "5m"],
  ["web_ui.enabled", "false"],
  ["web_ui.listen", "127.0.0.1:9848"],
  ["web_ui.read_timeout", "5s"],
  ["web_ui.write_timeout", "15s"],
  ["web_ui.idle_timeout", "60s"],
  ["web_ui.events_file", "events.jsonl"],
  ["web_ui.events_max_lines", "10000"],
  ["web_ui.session_history_file", "session-history.jsonl"],
  ["web_ui.session_history_max_lines", "5000"],
  ["web_ui.active_sessions_file", "active-sessions.jsonl"],
  ["web_ui.active_sessions_max_lines", "20000"],
  ["web_ui.active_snapshot_interval", "5m"],
  ["web_ui.storage_scan_interval", "1h"],
  ["web_ui.allow_download", "false"],
];

describe("the configuration reference", () => {
  const reference = configReference();
  test("in docs is what the schemas say (bun scripts/docs.ts)", async () => {
    expect(await Bun.file(DOCS).text()).toBe(reference);
  });
  for (const [key, fallback] of SPECIFIED) {
    test(`says that ${key} is ${fallback} by default`, () => {
      const item = reference.split(`- **\`${key}\`**`)[1]?.split("\n- **")[0];
      expect(item).toContain(`Default: ${fallback}.`);
    });
  }
  test("marks what has no effect yet, and only that", () => {
    expect(reference).toContain("`web_ui.bucket_upload_file`** †");
    expect(reference).not.toContain("`web_ui.listen`** †");
    expect(reference).not.toContain("`backups[].schedule`** †");
    expect(reference).not.toContain("`resume.buffer_size`** †");
  });
});

describe("the defaults in bytes and milliseconds", () => {
  test("of the agent", () => {
    const { retry, resume, resources, controlChannel, logging, backups } = agentOf(agentYaml("")).config;
    expect(retry).toEqual({ maxAttempts: 5, initialDelayMs: 1000, maxDelayMs: 300_000 });
    expect(resume).toEqual({ bufferBytes: 256 * 1024 ** 2, chunkBytes: undefined, giveUpAfterMs: 86_400_000 });
    expect(resources).toEqual({ workers: 0, nice: undefined, ioClass: { kind: "best-effort", priority: 7 } });
    expect(controlChannel).toEqual({
      enabled: true,
      keepaliveIntervalMs: 30_000,
      reconnectDelayMs: 5000,
      maxReconnectDelayMs: 300_000,
    });
    expect(logging).toEqual({
      level: "info",
      format: "json",
      file: undefined,
      streamStats: false,
      sessionLogDir: undefined,
    });
    expect(backups[0]).toMatchObject({
      parallels: 0,
      exclude: [],
      oneFileSystem: false,
      excludeCaches: false,
      excludeIfPresent: [],
      bandwidthLimitBytesPerSecond: undefined,
      portRotation: { mode: "off" },
    });
  });
  test("of the server", () => {
    const { server, storages } = serverOf(serverYaml("")).config;
    expect(server).toMatchObject({
      sessionsMax: 32,
      memoryBytesMax: 1024 ** 3,
      sessionIdleTimeoutMs: 86_400_000,
      shutdownTimeoutMs: 60_000,
    });
    expect(storages[0]).toMatchObject({
      name: "main",
      baseDir: "/srv/main",
      maxBackups: 7,
      minAgeMs: 0,
      allowAgents: undefined,
    });
    expect(storages[0]?.assembler).toEqual({
      mode: "eager",
      pendingMemBytesMax: 8 * 1024 ** 2,
      chunkShardLevels: 1,
      chunkFsync: true,
    });
  });
});

describe("a key without effect", () => {
  test("is told once however often it is set", () => {
    const more = [1, 2].map((i) => `  s${i}: {base_dir: /srv/s${i}, max_backups: 1, buckets: []}`).join("\n");
    const { warnings } = serverOf(serverYaml(more, "buckets: []"));
    expect(warnings.map(({ key, message }) => [key, message])).toEqual([
      ["storages.main.buckets", "has no effect yet (nor in 2 other places)"],
    ]);
  });
  test("is still checked", () => {
    expect(failureOf(() => agentOf(agentYaml("", "dscp: high"))).message).toContain('dscp: found "high"');
  });
});

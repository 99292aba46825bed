/** What of a configuration that was read again can count at once, and what waits for a restart. Pure. */
import type { ServerConfig, StorageConfig, WebUiConfig } from "#config/types.ts";

export interface Reload {
  /** What counts from now on. */
  readonly config: ServerConfig;
  /** Keys that were changed and keep their old value until the next start. */
  readonly restartKeys: readonly string[];
}

/** Files of records are read and written from the start to the end. */
const RECORD_KEYS = {
  eventsFile: "events_file",
  eventsLinesMax: "events_max_lines",
  sessionHistoryFile: "session_history_file",
  sessionHistoryLinesMax: "session_history_max_lines",
  activeSessionsFile: "active_sessions_file",
  activeSessionsLinesMax: "active_sessions_max_lines",
} as const satisfies Partial<Record<keyof WebUiConfig, string>>;

/**
 * Where the server listens, where its records lie, what memory it has set aside and how its lines look is settled at the start. So
 * is the directory of a storage's name: sessions, verifications and records are kept by the name.
 */
export function reloadedConfig(running: ServerConfig, read: ServerConfig): Reload {
  const { listen, stateDir } = running.server;
  const directories = new Map(running.storages.map(({ name, baseDir }) => [name, baseDir]));
  const moved = ({ name, baseDir }: StorageConfig): boolean => (directories.get(name) ?? baseDir) !== baseDir;
  const changed: readonly (readonly [string, boolean])[] = [
    ["server.listen", !Bun.deepEquals(listen, read.server.listen)],
    ["server.state_dir", stateDir !== read.server.stateDir],
    ["chunk_buffer", !Bun.deepEquals(running.chunkBuffer, read.chunkBuffer)],
    ...recordKeys().map((key) => [`web_ui.${RECORD_KEYS[key]}`, running.webUi[key] !== read.webUi[key]] as const),
    ["logging.format", running.logging.format !== read.logging.format],
    ...read.storages.map((storage) => [`storages.${storage.name}.base_dir`, moved(storage)] as const),
  ];
  return {
    config: {
      ...read,
      server: { ...read.server, listen, stateDir },
      chunkBuffer: running.chunkBuffer,
      webUi: { ...read.webUi, ...Object.fromEntries(recordKeys().map((key) => [key, running.webUi[key]])) },
      logging: { ...read.logging, format: running.logging.format },
      storages: read.storages.map((storage) => ({
        ...storage,
        baseDir: directories.get(storage.name) ?? storage.baseDir,
      })),
    },
    restartKeys: changed.flatMap(([key, isChanged]) => (isChanged ? [key] : [])),
  };
}

function recordKeys(): (keyof typeof RECORD_KEYS)[] {
  return Object.keys(RECORD_KEYS) as (keyof typeof RECORD_KEYS)[];
}

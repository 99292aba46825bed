/** What of a configuration that was read again can count at once, and what waits for a restart. Pure. */
import type { ServerConfig, StorageConfig } from "#config/types.ts";

export interface Reload {
  /** What counts from now on. */
  readonly config: ServerConfig;
  /** Keys that were changed and keep their old value until the next start. */
  readonly restartKeys: readonly string[];
}

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
    ["web_ui", !Bun.deepEquals(running.webUi, read.webUi)],
    ["logging.format", running.logging.format !== read.logging.format],
    ...read.storages.map((storage) => [`storages.${storage.name}.base_dir`, moved(storage)] as const),
  ];
  return {
    config: {
      ...read,
      server: { ...read.server, listen, stateDir },
      chunkBuffer: running.chunkBuffer,
      webUi: running.webUi,
      logging: { ...read.logging, format: running.logging.format },
      storages: read.storages.map((storage) => ({
        ...storage,
        baseDir: directories.get(storage.name) ?? storage.baseDir,
      })),
    },
    restartKeys: changed.flatMap(([key, isChanged]) => (isChanged ? [key] : [])),
  };
}

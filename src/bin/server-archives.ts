/** The archive commands of nbackup-server: on the storages of the configuration, or of a directory that is all that is left. */
import path from "node:path";
import type { ArchivePlace } from "#cli/archive-arguments.ts";
import type { ServerConfig } from "#config/types.ts";
import type { ArchiveStock } from "#restore/archive-stock.ts";
import { StorageStock } from "#server/storage-stock.ts";
import type { Disk } from "#store/disk.ts";

/** Throws Failure of the configuration. */
export function serverStock(
  { configFile, storageDir }: ArchivePlace,
  disk: Disk,
  load: (file: string) => ServerConfig,
): ArchiveStock {
  if (storageDir !== undefined) {
    // Nobody gave it a name.
    return new StorageStock(disk, [{ name: storageDir, baseDir: path.resolve(storageDir) }]);
  }
  return new StorageStock(disk, load(configFile).storages);
}

/** The archive commands of nbackup-server: on the storages of the configuration, or of a directory that is all that is left. */
import path from "node:path";
import type { ArchivePlace } from "#cli/archive-arguments.ts";
import type { KeepVerification } from "#commands/command-context.ts";
import type { ServerConfig } from "#config/types.ts";
import type { ArchiveStock } from "#restore/archive-stock.ts";
import { StorageStock } from "#server/storage-stock.ts";
import { identityOf } from "#store/damage-mark.ts";
import type { Disk } from "#store/disk.ts";
import type { ArchivePrograms } from "./archive-commands.ts";
import { findingOf } from "./findings.ts";
import { recordVerification } from "./verify-records.ts";

export interface ServerArchivesDeps {
  readonly disk: Disk;
  /** Throws Failure of the configuration. */
  readonly load: (file: string) => ServerConfig;
  readonly stderr: (text: string) => void;
}

/** The configuration is read when an archive is looked for in its storages, and once. */
export function serverArchives(
  { configFile, storageDir }: ArchivePlace,
  deps: ServerArchivesDeps,
): Pick<ArchivePrograms, "openStock" | "keepVerification"> {
  const { disk } = deps;
  if (storageDir !== undefined) {
    // Nobody gave it a name. Nothing is written there: it may be a copy, or a disk that is looked at from another machine.
    const storage = { name: storageDir, baseDir: path.resolve(storageDir) };
    return { openStock: () => Promise.resolve(new StorageStock(disk, [storage])) };
  }
  let loaded: ServerConfig | undefined;
  const config = (): ServerConfig => (loaded ??= deps.load(configFile));
  const openStock = async (): Promise<ArchiveStock> => new StorageStock(disk, config().storages);
  return { openStock, keepVerification: keepIn(config, deps) };
}

function keepIn(config: () => ServerConfig, { disk, stderr }: ServerArchivesDeps): KeepVerification {
  return async ({ storage, agent, backup, name }, { bytes: size, mtimeMs }, verification) => {
    const { storages, server } = config();
    const place = storages.find((one) => one.name === storage);
    if (place === undefined) return;
    await recordVerification(
      { storage, baseDir: place.baseDir, stateDir: server.stateDir },
      `${agent}/${backup}/${name}`,
      identityOf({ size, mtimeMs }),
      { finding: findingOf(verification), by: "verify" },
      { disk, stderr },
    );
  };
}

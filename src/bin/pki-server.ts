/** The server that a configuration describes, as the pki commands see it: where its list of revocations lies, and what it does with one. */
import path from "node:path";
import { toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import type { ServerConfig } from "#config/types.ts";
import type { PkiServer } from "#pki-tools/revoke.ts";
import { CertificateRegister } from "#server/certificate-register.ts";
import type { RevokedView } from "#server/revocation-guard.ts";
import { Revocations } from "#server/revocations.ts";
import type { Disk } from "#store/disk.ts";
import { askServer } from "./control.ts";
import { systemClock } from "./system.ts";

/** Undefined when no file was named and there is none at the usual place. Throws what is wrong with the configuration. */
export function pkiServer(
  configFile: string | undefined,
  load: (file: string) => ServerConfig,
  disk: Disk,
): PkiServer | undefined {
  const file = configFile ?? DEFAULT_SERVER_CONFIG_FILE;
  const config = loaded(file, configFile === undefined, load);
  if (config === undefined) return undefined;
  const { stateDir } = config.server;
  return {
    caDir: path.dirname(config.tls.caCertFile),
    revokedMs: async (agent) => (await Revocations.open(disk, stateDir, new Map())).beforeMs(agent),
    // Both sides are of the same version (control.ts): the answer is what the server's type says.
    revoke: async ({ agent, atMs, certificates = [] }) => {
      const named = certificates.length === 0 ? {} : { certificates: [...certificates] };
      return (await askServer(stateDir, { command: "revoke", agent, atMs, ...named })) as RevokedView;
    },
    beginningAfter: async (agent, atMs) => (await registerOf(disk, stateDir)).beginningAfter(agent, atMs),
  };
}

/** What is wrong with the register is the server's to say. */
const SILENT: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => SILENT,
};

/** As it lies there: a server that runs has written what it has issued. */
async function registerOf(disk: Disk, stateDir: string): Promise<CertificateRegister> {
  const revocations = new Revocations();
  return await CertificateRegister.open({ disk, stateDir, clock: systemClock, revocations, log: SILENT });
}

function loaded(file: string, mayBeMissing: boolean, load: (file: string) => ServerConfig): ServerConfig | undefined {
  try {
    return load(file);
  } catch (error) {
    const failure = toFailure(error);
    if (mayBeMissing && failure.code === "E_CONFIG_READ") return undefined;
    throw failure;
  }
}

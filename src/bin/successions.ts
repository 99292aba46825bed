/** Which new CAs the server tells its agents of: those of the list beside its CA that an agent could make something of. */
import { toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { ServerConfig } from "#config/types.ts";
import { readCertificates } from "#pki/pem-file.ts";
import { isKnown, readSuccessions, type Succession, SUCCESSIONS_MAX, successionsPath } from "#pki/succession.ts";

/** Never throws: what cannot be read is said in the log, and nobody is told. A CA that this server does not trust is not told either. */
export function successionsOf({ tls: { caCertFile } }: ServerConfig, log: Logger): readonly Succession[] {
  const file = successionsPath(caCertFile);
  try {
    const successions = readSuccessions(file).slice(-SUCCESSIONS_MAX);
    if (successions.length === 0) return [];
    const trusted = readCertificates(caCertFile);
    return successions.filter((one) => isKnown(one, trusted));
  } catch (error) {
    const { message, hint } = toFailure(error);
    log.warn("agents are not told of the new CA", { reason: message, hint });
    return [];
  }
}

/** The agent's certificates as its configuration names them: loaded, checked, and exchanged for renewed ones. */
import { Failure, toFailure } from "#base/errors.ts";
import type { AgentConfig } from "#config/types.ts";
import { type AgentPairFiles, checkReplaceable, finishRenewal, installRenewed } from "#pki/agent-pair.ts";
import { trustSuccessors } from "#pki/authority-file.ts";
import { displayName } from "#pki/certificate.ts";
import { type Identity, loadIdentity } from "#pki/identity.ts";
import { parsePem } from "#pki/pem.ts";
import { type FileCertificate, fileCertificate, readCertificates } from "#pki/pem-file.ts";
import { makeRequest, newAgentKey } from "#pki/request.ts";
import { isKnown, type Succession } from "#pki/succession.ts";
import { systemClock, systemRandom } from "./system.ts";

/** As they lie there. Throws Failure E_CERTIFICATE, E_IDENTITY. */
export function identityOf(config: AgentConfig): Identity {
  const { certPath } = filesOf(config);
  const identity = loadIdentity({ ...filesOf(config), role: "agent", nowMs: systemClock.wall() });
  if (identity.commonName === config.agent.name) return identity;
  // The server would refuse us.
  const text = `agent.name is ${config.agent.name}, the certificate ${certPath} is for ${identity.commonName}`;
  throw new Failure("E_IDENTITY", text);
}

/** The same, after a renewal that a crash cut short was completed. Throws Failure E_WRITE too. */
export function settledIdentityOf(config: AgentConfig): Identity {
  const unfinished = failureOf(() => finishRenewal(filesOf(config)));
  try {
    return identityOf(config);
  } catch (error) {
    // A user who may not write there can use what is whole.
    throw unfinished ?? error;
  }
}

/** What a renewal needs of the disk, for certificate-renewal.ts. `config` and `identity` are those in use, asked each time. */
export function renewalDisk(config: () => AgentConfig, identity: () => Identity) {
  return {
    prepare: (): Identity | undefined => {
      checkReplaceable(filesOf(config()));
      finishRenewal(filesOf(config()));
      // Somebody may have put another pair there since the last reload: it is used, and not written over.
      const found = identityOf(config());
      return found.fingerprint === identity().fingerprint ? undefined : found;
    },
    makeRequest: (): { readonly keyPem: string; readonly requestDer: Uint8Array } => {
      const keyPem = newAgentKey();
      return { keyPem, requestDer: makeRequest(config().agent.name, keyPem) };
    },
    /** The names of the CAs that are trusted in addition from now on, once they are on the disk. */
    trust: (successions: readonly Succession[]): readonly string[] => {
      const added = trustSuccessors(filesOf(config()), successions, systemClock.wall());
      return added.map(({ certificate }) => displayName(certificate));
    },
    /** Whether one of them is in the CA file, and connections do not go by it yet. Throws Failure E_CERTIFICATE. */
    isUnused: (successions: readonly Succession[]): boolean => {
      const onDisk = readCertificates(config().tls.caCertFile);
      const used = authoritiesOf(identity());
      return successions.some((one) => isKnown(one, onDisk) && !isKnown(one, used));
    },
    /** The place of the newest one that connections go by, from 1; 0: none. What only the file has does not count. */
    known: (successions: readonly Succession[]): number => {
      const used = authoritiesOf(identity());
      return successions.findLastIndex((one) => isKnown(one, used)) + 1;
    },
    install: (certPem: string, keyPem: string): Identity =>
      installRenewed(filesOf(config()), { certPem, keyPem }, identity(), systemClock.wall(), systemRandom),
  };
}

function authoritiesOf({ caPem }: Identity): readonly FileCertificate[] {
  return parsePem(Buffer.from(caPem)).map(({ der }) => fileCertificate(der));
}

function filesOf({ tls }: AgentConfig): AgentPairFiles {
  return { caPath: tls.caCertFile, certPath: tls.clientCertFile, keyPath: tls.clientKeyFile };
}

function failureOf(action: () => unknown): Failure | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return toFailure(error);
  }
}

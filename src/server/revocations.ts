/**
 * Which agents were revoked, as the running server knows it: by the list beside the CA, read at the start and at each reload, and
 * by what it was told since, kept in its state directory as `revoked.json`. The later of the two counts. Nothing takes a revocation
 * back: an agent gets a new certificate. Unlike other memories of the state directory this one must not be lost: a file
 * that cannot be read is a Failure, because who was locked out would be let in.
 */
import { z } from "zod";
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { certificateKey, isCertificateKey, isRevoked, type RevokedAgents } from "#pki/revocations.ts";
import type { Disk } from "#store/disk.ts";
import { StateFile } from "#store/state-file.ts";
import { REVOKED_RETRY_MS } from "./limits.ts";

/** Nothing is kept. */
const forget = (_told: RevokedAgents): Promise<void> => Promise.resolve();
const schema = z.object({
  revoked: z.record(
    z.string().refine((key) => isName(key) || isCertificateKey(key)),
    z.number().min(0),
  ),
});

/** A certificate as far as a revocation looks at it. */
export type RevocableCertificate = Pick<PeerIdentity, "notBeforeMs" | "fingerprint">;

export class Revocations {
  /** What was told, and must be kept. */
  readonly #told: Map<string, number>;
  readonly #keep: typeof forget;
  #besideCa: RevokedAgents;
  readonly #listeners: ((agents: readonly string[]) => void)[] = [];

  /** Without `keep` what is told counts as long as the process runs. */
  constructor(besideCa: RevokedAgents = new Map(), told: RevokedAgents = new Map(), keep = forget) {
    this.#besideCa = besideCa;
    this.#told = new Map(told);
    this.#keep = keep;
  }

  /** Rejects with Failure E_STATE_DIR. `besideCa`: the list that lies beside the CA. */
  static async open(disk: Disk, stateDir: string, besideCa: RevokedAgents): Promise<Revocations> {
    const file = new StateFile(disk, stateDir, "revoked.json");
    try {
      const found = await file.read();
      const told = found === undefined ? {} : schema.parse(found).revoked;
      const keep: typeof forget = (all) => file.write(() => ({ revoked: Object.fromEntries(all) }));
      return new Revocations(besideCa, new Map(Object.entries(told)), keep);
    } catch (cause) {
      throw unreadable(stateDir, cause);
    }
  }

  /** Certificates of the agent whose notBefore is not after this are revoked; undefined: none is. */
  beforeMs(agent: string): number | undefined {
    const times = [this.#told.get(agent), this.#besideCa.get(agent)].filter((time) => time !== undefined);
    return times.length === 0 ? undefined : Math.max(...times);
  }

  /** Throws Failure E_REVOKED. */
  check(peer: PeerIdentity): void {
    const beforeMs = this.beforeMs(peer.commonName);
    if (this.isRevoked(peer.commonName, peer)) throw revokedFailure(peer.commonName, beforeMs ?? peer.notBeforeMs);
  }

  /** It was made before the agent was revoked, as its time says or as was known then. */
  isRevoked(agent: string, certificate: RevocableCertificate): boolean {
    const key = certificateKey(certificate.fingerprint);
    return isRevoked(certificate, this.beforeMs(agent)) || this.#told.has(key) || this.#besideCa.has(key);
  }

  /**
   * It counts at once, and for good when this resolves. Rejects with what the disk throws. An earlier time changes nothing. `certificates`:
   * those that begin later and are revoked all the same, SHA-256 in hex.
   */
  async add(agent: string, atMs: number, certificates: readonly string[] = []): Promise<void> {
    const keys = certificates.map(certificateKey).filter((key) => !this.#told.has(key));
    const isNew = atMs > (this.beforeMs(agent) ?? -1) || keys.length > 0;
    this.#told.set(agent, Math.max(atMs, this.#told.get(agent) ?? 0));
    for (const key of keys) this.#told.set(key, atMs);
    if (isNew) this.#tell([agent]);
    await this.#keep(this.#told);
  }

  /** The list beside the CA was read again. */
  use(besideCa: RevokedAgents): void {
    // A certificate that is named stands in a line of its agent.
    const agents = [...besideCa.keys()].filter((key) => !isCertificateKey(key));
    const before = new Map(agents.map((agent) => [agent, this.beforeMs(agent)]));
    this.#besideCa = besideCa;
    this.#tell(agents.filter((agent) => this.beforeMs(agent) !== before.get(agent)));
  }

  /** Called with those who have just been revoked. */
  watch(listener: (agents: readonly string[]) => void): void {
    this.#listeners.push(listener);
  }

  #tell(agents: readonly string[]): void {
    if (agents.length > 0) for (const listener of this.#listeners) listener(agents);
  }
}

export function revokedFailure(agent: string, beforeMs: number): Failure {
  return new Failure("E_REVOKED", `the certificates of agent ${agent} made until ${isoSeconds(beforeMs)} are revoked`, {
    retryAfterMs: REVOKED_RETRY_MS,
    hint: `If it may come back: nbackup-server pki enroll-token ${agent} (or pki agent ${agent} --force), and install what that makes there.`,
  });
}

function unreadable(stateDir: string, cause: unknown): Failure {
  return new Failure("E_STATE_DIR", `${stateDir}/revoked.json cannot be read, and who is revoked is not known`, {
    hint: "Restore it from a copy of the state directory. Without one remove it, and revoke again who must not come in.",
    cause,
  });
}

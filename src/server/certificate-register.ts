/**
 * Which certificates of agents are alive: those that this server has issued, and those that came with an accepted Hello. Kept in
 * its state directory as `certificates.json`. It only knows; whether a certificate is let in is judged by the certificate itself.
 * When the file is lost, names are free that are in use, until their agents come again.
 */
import { z } from "zod";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { Disk } from "#store/disk.ts";
import { StateFile } from "#store/state-file.ts";
import type { Revocations } from "./revocations.ts";

const certificate = z.object({
  /** SHA-256 of the DER, hex. */
  fingerprint: z.string(),
  serial: z.string(),
  notBeforeMs: z.number(),
  notAfterMs: z.number(),
  /** Whether a Hello of it was accepted; missing in files of before this was kept. */
  seen: z.boolean().optional(),
});
const schema = z.object({ agents: z.record(z.string(), z.array(certificate)) });

type Kept = Readonly<z.infer<typeof certificate>>;
export type RegisteredCertificate = Omit<Kept, "seen">;

/** Certificates remembered of one agent: those that end last. */
const CERTIFICATES_OF_AGENT_MAX = 4;
/** Agents remembered; the ones heard of first are forgotten first. More than the largest installation meant here has. */
const AGENTS_MAX = 20_000;
/** An ended certificate is nobody's hindrance; for so long at least `known` tells a name that was in use from a mistyped one. */
const ENDED_KEPT_MS = 30 * 86_400_000;
/** With fewer agents nothing is gained by forgetting, and a clock that is ahead for a moment would take those that are alive. */
const ENDED_FORGOTTEN_ABOVE_AGENTS = 10_000;

export interface CertificateRegisterOptions {
  readonly disk: Disk;
  readonly stateDir: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly revocations: Revocations;
}

export class CertificateRegister {
  readonly #options: CertificateRegisterOptions;
  readonly #file: StateFile;
  readonly #agents: Map<string, readonly Kept[]>;
  /** A write waits for its turn: it will have what is new by then. */
  #writing: Promise<void> | undefined;

  private constructor(options: CertificateRegisterOptions, file: StateFile, agents: Map<string, readonly Kept[]>) {
    this.#options = options;
    this.#file = file;
    this.#agents = agents;
  }

  /** Never rejects: what cannot be read is said in the log, and nothing is known. */
  static async open(options: CertificateRegisterOptions): Promise<CertificateRegister> {
    const { disk, stateDir, log } = options;
    const file = new StateFile(disk, stateDir, "certificates.json");
    let agents: z.infer<typeof schema>["agents"] = {};
    try {
      const found = await file.read();
      if (found !== undefined) ({ agents } = schema.parse(found));
    } catch (error) {
      const fields = { file: file.name, error: String(error) };
      log.warn("the register of certificates cannot be read and is begun anew", fields);
    }
    return new CertificateRegister(options, file, new Map(Object.entries(agents)));
  }

  /** The agent's certificate that is valid, not revoked, and ends last; undefined: none that this server knows of. */
  live(agent: string): RegisteredCertificate | undefined {
    return this.#livingOf(agent).sort((a, b) => b.notAfterMs - a.notAfterMs)[0];
  }

  /** Agents that were given a certificate which is alive, and of which no Hello has come. */
  unseen(): string[] {
    const isUnseen = (agent: string): boolean => {
      const living = this.#livingOf(agent);
      return living.length > 0 && living.every(({ seen }) => seen === false);
    };
    return [...this.#agents.keys()].filter(isUnseen);
  }

  /** Certificates of the agent that begin after a time, wall milliseconds: SHA-256 of each, hex. */
  beginningAfter(agent: string, atMs: number): string[] {
    const known = this.#agents.get(agent) ?? [];
    return known.filter(({ notBeforeMs }) => notBeforeMs > atMs).map(({ fingerprint }) => fingerprint);
  }

  /** A certificate of that name was seen or issued which is alive, or has ended and was not forgotten. */
  known(agent: string): boolean {
    return this.#agents.has(agent);
  }

  /** This server has issued it. Resolves when the disk knows it; rejects with what that throws. */
  async issued(agent: string, issued: RegisteredCertificate): Promise<void> {
    if (this.#add(agent, { ...issued, seen: false })) await this.#write();
  }

  /** A Hello of this certificate was accepted. A disk that does not take it is said in the log. */
  seen(agent: string, { fingerprint, serial, notBeforeMs, notAfterMs }: RegisteredCertificate): void {
    const known = this.#agents.get(agent)?.find((one) => one.fingerprint === fingerprint);
    if (known !== undefined && known.seen !== false) return;
    if (!this.#add(agent, { fingerprint, serial, notBeforeMs, notAfterMs, seen: true })) return;
    this.#write().catch((error: unknown) => {
      const { log } = this.#options;
      log.warn("the register of certificates could not be written", { file: this.#file.name, error: String(error) });
    });
  }

  /** False when it ends before so many others of that name that it is not kept. */
  #add(agent: string, added: Kept): boolean {
    const others = this.#livingOf(agent).filter(({ fingerprint }) => fingerprint !== added.fingerprint);
    const kept = [...others, added].sort((a, b) => b.notAfterMs - a.notAfterMs).slice(0, CERTIFICATES_OF_AGENT_MAX);
    if (!kept.includes(added)) return false;
    this.#agents.delete(agent);
    this.#agents.set(agent, kept);
    this.#forgetEnded();
    const [oldest] = this.#agents.keys();
    if (this.#agents.size > AGENTS_MAX && oldest !== undefined) this.#agents.delete(oldest);
    return true;
  }

  #forgetEnded(): void {
    if (this.#agents.size <= ENDED_FORGOTTEN_ABOVE_AGENTS) return;
    const sinceMs = this.#options.clock.wall() - ENDED_KEPT_MS;
    for (const [agent, certificates] of this.#agents) {
      const kept = certificates.filter(({ notAfterMs }) => notAfterMs >= sinceMs);
      if (kept.length === 0) this.#agents.delete(agent);
      else if (kept.length < certificates.length) this.#agents.set(agent, kept);
    }
  }

  #livingOf(agent: string): Kept[] {
    const nowMs = this.#options.clock.wall();
    const { revocations } = this.#options;
    const known = this.#agents.get(agent) ?? [];
    return known.filter((one) => one.notAfterMs >= nowMs && !revocations.isRevoked(agent, one));
  }

  /** Several that come at once are written together. */
  #write(): Promise<void> {
    this.#writing ??= this.#file.write(() => {
      this.#writing = undefined;
      return { agents: Object.fromEntries(this.#agents) };
    });
    return this.#writing;
  }
}

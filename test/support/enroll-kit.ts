/**
 * The server's enrolment on a disk and a network in memory, with real certificates, and the agent's half against it. Time is real, because
 * the crypto library's work is; the wall clock can be moved.
 */
import { createHash, X509Certificate } from "node:crypto";
import fs from "node:fs";
import { EnrollClient, fetchAuthority } from "#agent/enroll.ts";
import type { Clock } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { systemClock, systemRandom } from "#bin/system.ts";
import type { Connection } from "#net/connection.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { parseToken } from "#pki/enroll-token.ts";
import { makeRequest, newAgentKey } from "#pki/request.ts";
import { CertificateRegister } from "#server/certificate-register.ts";
import { EnrollTokens } from "#server/enroll-tokens.ts";
import { Enrollment, type EnrollSettings } from "#server/enrollment.ts";
import { Issuer } from "#server/issuer.ts";
import { Revocations } from "#server/revocations.ts";
import type { Message } from "#wire/messages.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { memoryLink } from "./memory-net.ts";
import { memoryLogger } from "./memory-logger.ts";
import type { DemoPki } from "./pki.ts";

export const STATE_DIR = "/var/lib/nbackup";

async function stateDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  for (const dir of ["/var", "/var/lib", STATE_DIR]) {
    await disk.mkdir(dir, 0o755);
    await disk.syncDirectory(dir.slice(0, dir.lastIndexOf("/")) || "/");
  }
  return disk;
}

/** Time runs as it does; the wall clock can be moved. */
class MovedClock implements Clock {
  aheadMs = 0;
  readonly #timers = new Set<() => void>();

  now(): number {
    return systemClock.now();
  }

  wall(): number {
    return systemClock.wall() + this.aheadMs;
  }

  after(delayMs: number, fn: () => void): ReturnType<Clock["after"]> {
    const run = (): void => {
      this.#timers.delete(run);
      fn();
    };
    const timer = systemClock.after(delayMs, run);
    this.#timers.add(run);
    return {
      cancel: () => {
        this.#timers.delete(run);
        timer.cancel();
      },
    };
  }

  /** All timers that wait are due now: what they limit is over. */
  expire(): void {
    for (const run of [...this.#timers]) run();
  }
}

export interface EnrollWorldOptions {
  readonly pki: DemoPki;
  readonly disk?: MemoryDisk;
  /** Why this server issues no certificates. */
  readonly off?: Failure;
}

export class EnrollWorld {
  readonly clock = new MovedClock();
  readonly events: ObservedEvent[] = [];
  readonly log = memoryLogger();
  readonly disk: MemoryDisk;
  readonly pki: DemoPki;
  register!: CertificateRegister;
  revocations!: Revocations;
  tokens!: EnrollTokens;
  enrollment!: Enrollment;
  settings!: EnrollSettings;
  /** Set while the port is open. */
  accept: ((connection: Connection) => void) | undefined;
  /** What the next open fails with. */
  listenFailure: Failure | undefined;
  /** How often the port was opened. */
  opened = 0;
  #ports = 40_000;

  private constructor(disk: MemoryDisk, pki: DemoPki) {
    this.disk = disk;
    this.pki = pki;
  }

  static async start({ pki, disk, off }: EnrollWorldOptions): Promise<EnrollWorld> {
    const world = new EnrollWorld(disk ?? (await stateDisk()), pki);
    await world.#start(off);
    return world;
  }

  /** The server was killed and starts again, on what a loss of power leaves of its disk. */
  async restart(): Promise<EnrollWorld> {
    this.enrollment.stop(new Failure("E_SHUTDOWN", "killed"));
    return await EnrollWorld.start({ pki: this.pki, disk: this.disk.reboot() });
  }

  stop(): void {
    this.enrollment.stop(new Failure("E_SHUTDOWN", "the server is stopping"));
  }

  /** A connection to the port, from an address. */
  connect(address = "192.0.2.7"): Connection {
    if (this.accept === undefined) throw new Failure("E_CONNECT", "the port is closed");
    this.#ports += 1;
    const link = memoryLink({ clock: this.clock, clientAddress: `${address}:${this.#ports}` });
    this.accept(link.server);
    return link.client;
  }

  client(address?: string): EnrollClient {
    return new EnrollClient(this.connect(address), this.clock);
  }

  /** All of it, as an agent does: the CA, the token, the request, installed. */
  async enroll(text: string, keyPem = newAgentKey()): Promise<Message<"certificate">> {
    const token = parseToken(text);
    await fetchAuthority(this.connect(), token, this.clock);
    const client = this.client();
    const { agent } = await client.enroll(token.secret, "nbackup-agent 0.1.0");
    const answer = await client.certify(makeRequest(agent, keyPem));
    await client.installed(fingerprintOf(answer));
    client.end();
    return answer;
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }

  async #start(off: Failure | undefined): Promise<void> {
    const { disk, clock, log, pki } = this;
    this.revocations = await Revocations.open(disk, STATE_DIR, new Map());
    const { revocations } = this;
    this.register = await CertificateRegister.open({ disk, stateDir: STATE_DIR, log, clock, revocations });
    this.tokens = await EnrollTokens.open({ disk, stateDir: STATE_DIR, clock, log, revocations });
    const der = (file: string): Uint8Array => new X509Certificate(fs.readFileSync(file)).raw;
    const serverDer = der(pki.server.certPath);
    const issuer = await Issuer.open({
      ...{ caCertFile: pki.caPath, caKeyFile: pki.caKeyPath, clock, random: systemRandom },
      serverCertificate: () => serverDer,
      revokedBefore: (agent) => revocations.beforeMs(agent),
    });
    this.settings = {
      issuer: off ?? issuer,
      ...{ caPem: fs.readFileSync(pki.caPath, "utf8"), rootDer: der(pki.caPath), serverDer, dataPort: 9847 },
      address: { host: "0.0.0.0", port: 9846 },
      storagesOf: () => ["main", "slow"],
    };
    this.enrollment = new Enrollment({
      ...{ clock, random: systemRandom, log, tokens: this.tokens, register: this.register, revocations },
      settings: this.settings,
      events: { emit: (event) => void this.events.push(event) },
      listen: (address, accept) => {
        if (this.listenFailure !== undefined) throw this.listenFailure;
        this.accept = accept;
        this.opened += 1;
        return {
          port: address.port,
          stop: () => {
            this.accept = undefined;
          },
        };
      },
    });
    this.enrollment.start();
  }
}

export function fingerprintOf({ certificate }: Message<"certificate">): string {
  return createHash("sha256").update(new X509Certificate(certificate).raw).digest("hex");
}

/** `E_CODE: message`, or what it resolved with. */
export async function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "done",
    (error: unknown) => String(toFailure(error)),
  );
}

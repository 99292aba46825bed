/** The enrolment as the daemon has it: its tokens on the disk, its port, the CA's key, and what a reload changes of them. */
import { must } from "#base/assert.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { ServerConfig } from "#config/types.ts";
import type { HostPort } from "#net/address.ts";
import type { Connection, Listener } from "#net/connection.ts";
import { listenTls, type TlsListener } from "#net/listen.ts";
import type { EventSink } from "#observe/events.ts";
import type { Identity } from "#pki/identity.ts";
import { parsePem } from "#pki/pem.ts";
import { agentAllowed } from "#server/agent-globs.ts";
import type { CertificateRegister } from "#server/certificate-register.ts";
import { answerEnroll } from "#server/enroll-admin.ts";
import { EnrollTokens } from "#server/enroll-tokens.ts";
import { Enrollment, type EnrollSettings } from "#server/enrollment.ts";
import { Issuer } from "#server/issuer.ts";
import type { Revocations } from "#server/revocations.ts";
import type { Disk } from "#store/disk.ts";
import { ENROLL_ALPN_PROTOCOL, HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import { systemClock, systemRandom } from "./system.ts";

/** Under way at once: everybody is a stranger here, and the machines that enrol are few. */
const HANDSHAKES_MAX = 128;

export interface EnrollSideOptions {
  readonly config: ServerConfig;
  readonly identity: Identity;
  readonly disk: Disk;
  readonly log: Logger;
  readonly events: EventSink;
  readonly register: CertificateRegister;
  readonly revocations: Revocations;
  /** Of the listener for agents. */
  readonly dataPort: number;
}

export class EnrollSide {
  readonly #options: EnrollSideOptions;
  readonly #enrollment: Enrollment;
  #identity: Identity;
  #issuer: EnrollSettings["issuer"];
  /** While the port is open. */
  #listener: TlsListener | undefined;

  private constructor(options: EnrollSideOptions, tokens: EnrollTokens, settings: EnrollSettings) {
    const { log, events, register, revocations } = options;
    this.#options = options;
    this.#identity = options.identity;
    this.#issuer = settings.issuer;
    this.#enrollment = new Enrollment({
      ...{ clock: systemClock, random: systemRandom, log, events, tokens, register, revocations, settings },
      listen: (address, accept) => this.#listen(address, accept),
    });
  }

  /** Never rejects: a server that cannot issue certificates serves its agents all the same. */
  static async open(options: EnrollSideOptions): Promise<EnrollSide> {
    const { config, disk, log, identity, revocations } = options;
    const { stateDir } = config.server;
    const tokens = await EnrollTokens.open({ disk, stateDir, clock: systemClock, log, revocations });
    const side = new EnrollSide(options, tokens, await settingsOf(config, identity, options));
    side.#enrollment.start();
    return side;
  }

  #listen(address: HostPort, accept: (connection: Connection) => void): Listener {
    try {
      const listener = listenTls({
        ...{ address, accept, log: this.#options.log, clock: systemClock, identity: this.#identity },
        protocol: ENROLL_ALPN_PROTOCOL,
        peers: "anybody",
        handshakesMax: HANDSHAKES_MAX,
        handshakeTimeoutMs: HELLO_TIMEOUT_MS,
      });
      this.#listener = listener;
      return {
        port: listener.port,
        stop: () => {
          this.#listener = undefined;
          listener.stop();
        },
      };
    } catch (error) {
      throw portFailure(error);
    }
  }

  /** The answer to a question of the control socket, when it is for the enrolment. */
  answer(request: unknown): Promise<unknown> | undefined {
    return answerEnroll(this.#enrollment, request);
  }

  /** Handshakes from now on are made with this identity; the port is opened anew only where it is another. Never rejects. */
  async reload(config: ServerConfig, identity: Identity): Promise<void> {
    this.#identity = identity;
    try {
      this.#listener?.use(identity);
    } catch (error) {
      const { code, message } = toFailure(error);
      this.#options.log.error("the enrolment port goes on with the old certificate", { code, reason: message });
    }
    const settings = await settingsOf(config, this.#identity, this.#options);
    this.#issuer = settings.issuer;
    this.#enrollment.use(settings);
  }

  /** Who signs renewals as well; undefined while nobody can. */
  get issuer(): Issuer | undefined {
    return this.#issuer instanceof Issuer ? this.#issuer : undefined;
  }

  stop(): void {
    this.#enrollment.stop(new Failure("E_SHUTDOWN", "the server is stopping"));
  }
}

async function settingsOf(
  config: ServerConfig,
  identity: Identity,
  options: EnrollSideOptions,
): Promise<EnrollSettings> {
  const serverDer = must(parsePem(Buffer.from(identity.certPem))[0], "the server's certificate").der;
  return {
    ...{ serverDer, caPem: identity.caPem, rootDer: identity.rootDer, address: config.enrollListen },
    issuer: await issuerOf(config, serverDer, options),
    dataPort: options.dataPort,
    storagesOf: (agent) =>
      config.storages.filter(({ allowAgents }) => agentAllowed(allowAgents, agent)).map(({ name }) => name),
  };
}

/** Why there is none is said in the log, and to who asks for a token. */
async function issuerOf(
  config: ServerConfig,
  serverDer: Uint8Array,
  { log, revocations }: EnrollSideOptions,
): Promise<Issuer | Failure> {
  const { caCertFile, caKeyFile } = config.tls;
  if (caKeyFile === undefined) {
    return new Failure("E_ENROLL_OFF", "this server issues no certificates: tls.ca_key is not set");
  }
  try {
    return await Issuer.open({
      ...{ caCertFile, caKeyFile, clock: systemClock, random: systemRandom },
      serverCertificate: () => serverDer,
      revokedBefore: (agent) => revocations.beforeMs(agent),
    });
  } catch (error) {
    const { message, hint } = toFailure(error);
    const reason = `this server issues no certificates: ${message}`;
    log.error("tls.ca_key cannot be used: no agent enrols, and no certificate renews itself", {
      reason: message,
      hint,
    });
    return new Failure("E_ENROLL_OFF", reason, { hint, cause: error });
  }
}

/** The hint of the listener's own failure is about server.listen. */
function portFailure(error: unknown): Failure {
  const { code, message } = toFailure(error);
  const hint = "Check server.enroll_listen, and that no other program uses the port.";
  return new Failure(code, message, { cause: error, hint });
}

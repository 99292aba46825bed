/** `nbackup-agent enroll`: the connections, the files and what a person reads. The conversation is #agent/enroll.ts, the files enroll-files.ts. */
import { createHash, X509Certificate } from "node:crypto";
import path from "node:path";
import { EnrollClient, fetchAuthority } from "#agent/enroll.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import { formatDuration } from "#base/units.ts";
import type { EnrollRequest } from "#cli/enroll-command.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { DEFAULT_AGENT_CONFIG_FILE } from "#config/defaults.ts";
import { UNKNOWN_STORAGE } from "#config/made-agent.ts";
import type { Address } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import type { Connection } from "#net/connection.ts";
import { TlsDialer } from "#net/dial.ts";
import { type EnrollToken, parseToken } from "#pki/enroll-token.ts";
import { type Identity, loadIdentity } from "#pki/identity.ts";
import { parsePem } from "#pki/pem.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { makeRequest } from "#pki/request.ts";
import { ALPN_PROTOCOL, ENROLL_ALPN_PROTOCOL, HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import { enrolledYaml } from "./enroll-config.ts";
import { CERT_FILE, EnrollFiles } from "./enroll-files.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface EnrollRun {
  readonly request: EnrollRequest;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Reads the configuration that was written; throws what is wrong with it. */
  readonly check: (configFile: string) => Identity;
  /** Where the agent of that configuration connects to. Throws the same. */
  readonly serverOf: (configFile: string) => Address;
}

/** Each conversation as a whole again when it breaks: a lost answer costs nothing. */
const ATTEMPTS = 3;

/** Clocks of two machines differ a little; more is said, because certificates and schedules go by them. */
const CLOCK_DIFFERENCE_MS = 60_000;

/** TLS says that the server's certificate is of another CA than the one that is pinned. */
const OTHER_CA = new Set([
  ...["SELF_SIGNED_CERT_IN_CHAIN", "DEPTH_ZERO_SELF_SIGNED_CERT", "UNABLE_TO_GET_ISSUER_CERT"],
  ...["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_SIGNATURE_FAILURE"],
]);

/** What the server says no more: whether it had heard that the certificate is on the disk here before the token ended. */
function unheardNote(why: string): string {
  return `note: ${why}; this machine has its certificate already. If the token was made with --replace, see on the server that nbackup-server events has enroll.done for it: without that the older certificates are still good, and a new token with --replace, used here with --force, ends them.\n`;
}

const CLOSED = "nobody listens on the enrolment port, as after the last token was used or has ended";

/** The exit status. Rejects with Failure E_ENROLL_…, E_USAGE, E_WRITE, and what connecting fails with. */
export async function runEnroll(run: EnrollRun): Promise<number> {
  const { request } = run;
  const token = parseToken(request.token === "-" ? await Bun.stdin.text() : request.token);
  const configFile = path.resolve(request.configFile);
  const place = { dir: path.dirname(configFile), configName: path.basename(configFile), force: request.force };
  const files = new EnrollFiles(place, token.secret);
  files.prepare();
  const wasInstalled = files.installed();
  let answer: Message<"certificate"> | undefined;
  try {
    const caPem = await repeated(run, async () =>
      fetchAuthority(await dial(request.server, undefined), token, systemClock),
    );
    answer = await repeated(run, () => converse(run, { token, caPem, files, configFile }));
  } catch (error) {
    const failure = toFailure(error);
    // It had confirmed, and crashed or lost the answer: everything is in its place. After the last token the port is closed, too.
    const closed = failure.code === "E_CONNECT" && errnoName(toFailure(failure.cause).cause) === "ECONNREFUSED";
    if (!wasInstalled || (failure.code !== "E_ENROLL_TOKEN" && !closed)) throw error;
    if (closed && !(await speaksToAgents(run.serverOf(configFile)))) throw unconfirmed(failure);
    // An expired or withdrawn token says as little as a closed port.
    run.stderr(unheardNote(closed ? CLOSED : failure.message));
  }
  const identity = run.check(configFile);
  files.done();
  if (answer?.storages.length === 0) run.stderr(noStorageText(identity.commonName, configFile));
  run.stdout(doneText(request, identity, path.join(place.dir, CERT_FILE)));
  return EXIT.done;
}

/** The files stay as the same command needs them to go on. */
function unconfirmed(cause: Failure): Failure {
  return new Failure("E_CONNECT", `${cause.message}, and the port for agents does not answer either`, {
    hint: "This machine has its certificate and all files already, but the server seems to be down and may not have heard so: run the same command again when it is up, within the token's hour. Until then a token that was made with --replace has not ended the older certificates.",
    cause,
  });
}

interface Enrolling {
  readonly token: EnrollToken;
  /** PEM of the CA that the token names. */
  readonly caPem: string;
  readonly files: EnrollFiles;
  readonly configFile: string;
}

/** Again when the connection broke or nobody answered, and not when something was said. */
async function repeated<T>(run: EnrollRun, converse: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await converse();
    } catch (error) {
      const failure = toFailure(error);
      if (!isCut(failure) || attempt === ATTEMPTS) throw failure;
      run.stderr(`${failure.message}; once more\n`);
    }
  }
}

/** In the handshake a cut is a failure to connect. */
function isCut(failure: Failure): boolean {
  if (failure.code === "E_CONNECT") return errnoName(toFailure(failure.cause).cause) === "ECONNRESET";
  return failure.code === "E_DISCONNECTED" || failure.code === "E_TIMEOUT";
}

async function converse(
  run: EnrollRun,
  { token, caPem, files, configFile }: Enrolling,
): Promise<Message<"certificate">> {
  const { request, software } = run;
  const client = new EnrollClient(await dial(request.server, caPem), systemClock);
  try {
    const granted = await client.enroll(token.secret, software);
    tellClocks(run, granted);
    const keyPem = files.key();
    const answer = await client.certify(makeRequest(granted.agent, keyPem));
    const identity = judge(answer, granted, caPem, files);
    if (!files.installed()) {
      const yaml = enrolledYaml({
        request,
        configFile,
        answer,
        agent: granted.agent,
        caName: files.caName(answer.authorities),
      });
      files.install({ keyPem, certPem: answer.certificate, caPem: answer.authorities, yaml }, systemRandom);
    }
    await client.installed(identity.fingerprint);
    return answer;
  } finally {
    client.end();
  }
}

/** With `caPem` the server is verified by it and by nothing else, its name too; without, whoever answers is let talk. */
async function dial(address: Address, caPem: string | undefined): Promise<Connection> {
  const dialer = new TlsDialer({
    address,
    identity: () => ({ caPem: caPem ?? "" }),
    unverified: caPem === undefined,
    protocol: ENROLL_ALPN_PROTOCOL,
    timeoutMs: HELLO_TIMEOUT_MS,
    clock: systemClock,
  });
  try {
    return await dialer.dial();
  } catch (error) {
    const failure = toFailure(error);
    const isOtherPort = failure.code === "E_TLS" && (await speaksToAgents(address));
    throw isOtherPort ? otherPort(address, failure) : dialFailure(failure, address);
  }
}

/** The port that enrolled agents connect to is there, as anybody can see without a certificate; nothing is said to it. */
async function speaksToAgents(address: Address): Promise<boolean> {
  const options = { address, identity: () => ({ caPem: "" }), unverified: true, clock: systemClock };
  try {
    const connection = await new TlsDialer({ ...options, protocol: ALPN_PROTOCOL, timeoutMs: HELLO_TIMEOUT_MS }).dial();
    connection.attach({ data: () => undefined, drain: () => undefined, closed: () => undefined });
    connection.destroy();
    return true;
  } catch {
    return false; // What is wrong with it was found already.
  }
}

function otherPort(address: Address, cause: Failure): Failure {
  return new Failure("E_TLS", `${formatAddress(address)} is the port for agents that are enrolled already`, {
    hint: "Enrolment has a port of its own, that of server.enroll_listen, usually 9846: write HOST:PORT as nbackup-server pki enroll-token printed it.",
    cause,
  });
}

function dialFailure(failure: Failure, address: Address): Failure {
  const where = formatAddress(address);
  if (failure.code === "E_TLS" && OTHER_CA.has(errnoName(failure.cause) ?? "")) {
    return new Failure("E_ENROLL_SERVER", `the server ${where} cannot prove that it has the CA that the token names`, {
      cause: failure,
    });
  }
  if (failure.code === "E_CONNECT") {
    return new Failure("E_CONNECT", failure.message, {
      hint: "Check HOST:PORT as nbackup-server pki enroll-token printed it. The port is open only while a token is good, and firewalls must let it through.",
      cause: failure,
    });
  }
  return failure;
}

/** What came, looked at as the daemon will at its start, before anything is put in its place. Throws Failure E_CERTIFICATE, E_PROTOCOL. */
function judge(
  { certificate, authorities }: Message<"certificate">,
  { agent, wallMs }: Message<"granted">,
  caPem: string,
  files: EnrollFiles,
): Identity {
  const paths = files.stage(certificate, authorities);
  // By the server's clock, when ours is a little behind: the certificate began a moment ago.
  const nowMs = systemClock.wall();
  const judgedAtMs = wallMs > nowMs && wallMs - nowMs < CLOCK_DIFFERENCE_MS ? wallMs + CLOCK_DIFFERENCE_MS : nowMs;
  const identity = loadIdentity({ ...paths, role: "agent", nowMs: judgedAtMs });
  if (identity.commonName !== agent) {
    throw new Failure("E_PROTOCOL", `the certificate is for ${identity.commonName}, expected ${agent}`);
  }
  const pinned = fingerprints(caPem);
  if (!pinned.every((one) => fingerprints(authorities).includes(one))) {
    throw new Failure("E_PROTOCOL", "the server's own CA is not among those that it sent");
  }
  return identity;
}

function fingerprints(pem: string): string[] {
  return parsePem(Buffer.from(pem)).map(({ der }) => createHash("sha256").update(der).digest("hex"));
}

function tellClocks({ stderr }: EnrollRun, { wallMs }: Message<"granted">): void {
  const differenceMs = systemClock.wall() - wallMs;
  if (Math.abs(differenceMs) < CLOCK_DIFFERENCE_MS) return;
  const how = differenceMs > 0 ? "ahead of" : "behind";
  stderr(`warning: this machine's clock is ${formatDuration(Math.abs(differenceMs))} ${how} the server's\n`);
}

function noStorageText(agent: string, configFile: string): string {
  return [
    `warning: the server has no storage that ${agent} may use, so that every backup will be refused (E_STORAGE_DENIED, E_STORAGE_UNKNOWN).`,
    `HINT: On the server let allow_agents of a storage take ${agent} and reload it (systemctl reload nbackup-server); then put the storage's name in the place of ${UNKNOWN_STORAGE} in ${configFile}.`,
    "",
  ].join("\n");
}

function doneText({ configFile }: EnrollRequest, identity: Identity, certPath: string): string {
  const config = configFile === DEFAULT_AGENT_CONFIG_FILE ? "" : ` --config ${configFile}`;
  const until = isoSeconds(Date.parse(new X509Certificate(identity.certPem).validTo));
  return [
    `This machine is enrolled as ${identity.commonName}.`,
    "",
    `configuration  ${path.resolve(configFile)}`,
    `certificate    ${certPath}, until ${until}`,
    "",
    "Next:",
    "  1. look at the sources and the schedule in the configuration, then",
    `     nbackup-agent check-config${config}`,
    "  2. the first backup:",
    `     nbackup-agent${config} --once --progress`,
    "  3. from then on by its schedule (where the daemon runs already: systemctl reload nbackup-agent):",
    config === "" ? "     systemctl enable --now nbackup-agent" : `     nbackup-agent${config}`,
    "",
  ].join("\n");
}

/**
 * The front of `nbackup-server pki`: arguments in, exit status out. It prints, and turns every error into its code, a
 * sentence and a hint. The commands themselves are in make.ts, renew.ts, revoke.ts and show.ts; enroll-token is the running
 * server's work, and only printed here.
 */
import { must, unreachable } from "#base/assert.ts";
import type { Clock } from "#base/clock.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { nameText } from "#pki/certificate.ts";
import { readCertificates } from "#pki/pem-file.ts";
import { printable } from "#pki/printable.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { type EnrollTokenCommand, parseCommandLine, type PkiCommand } from "./command-line.ts";
import { helpText } from "./help.ts";
import { type Made, makeAgent, makeAuthority, type AgentContext, makeServer } from "./make.ts";
import { type PkiServer, revoke, revokedJson, revokedSince, revokedText } from "./revoke.ts";
import { renew } from "./renew.ts";
import { describeFile, filesToShow, listRevocations, revocationsText, showText } from "./show.ts";

export interface PkiIo {
  /** Results; the text has its line ends. */
  stdout(text: string): void;
  /** Notices and errors. */
  stderr(text: string): void;
  readonly clock: Pick<Clock, "wall">;
  readonly random: Random;
  /** Asks the running server. Rejects with what it answers, or Failure E_NOT_RUNNING. */
  enrollToken(command: EnrollTokenCommand): Promise<EnrollTokenAnswer>;
  /** Of a configuration file; of the default one unless named, undefined when that is not there. Throws what is wrong with it. */
  server(configFile: string | undefined): PkiServer | undefined;
  sleep(ms: number): Promise<void>;
}

/** What the server says of a new token. */
export interface EnrollTokenAnswer {
  readonly agent: string;
  /** A secret. */
  readonly token: string;
  /** `backup.example.org:9846` */
  readonly server: string;
  readonly expiresWallMs: number;
  readonly replace: boolean;
}

/** Runs one command; `argv` is what stands after `pki`. Resolves with the exit status and never rejects. */
export async function runPki(argv: readonly string[], io: PkiIo): Promise<number> {
  try {
    return await run(parseCommandLine(argv), io);
  } catch (error) {
    const failure = toFailure(error);
    printFailure(failure, io);
    return failure.exitCode;
  }
}

async function run(command: PkiCommand, io: PkiIo): Promise<number> {
  const nowMs = io.clock.wall();
  const context: AgentContext = {
    nowMs,
    random: io.random,
    notice: (text) => io.stderr(`note: ${text}\n`),
    revokedMs: (dir, agent) => revokedSince(dir, agent, serverOf(io)),
    sleep: (ms) => io.sleep(ms),
  };
  switch (command.command) {
    case "help":
      io.stdout(helpText(command.topic));
      return 0;
    case "init":
      printMade(await makeAuthority(command, context), command, io);
      return 0;
    case "server":
      printMade(await makeServer(command.hosts, command, context), command, io);
      return 0;
    case "agent":
      printMade(await makeAgent(command.agent, command, context), command, io);
      return 0;
    case "renew":
      printMade(await renew(command.name, command, context), command, io);
      return 0;
    case "revoke": {
      const { sleep, notice } = context;
      const revoked = await revoke(command, { nowMs, sleep, notice, server: (configFile) => io.server(configFile) });
      io.stdout(command.json ? revokedJson(revoked) : revokedText(revoked));
      return 0;
    }
    case "enroll-token":
      printToken(await io.enrollToken(command), command.json, io);
      return 0;
    case "show":
      return show(command, nowMs, io);
    default:
      return unreachable(command);
  }
}

/** Certificates can be made without a server, whatever is wrong with its configuration. */
function serverOf(io: PkiIo): PkiServer | undefined {
  try {
    return io.server(undefined);
  } catch (error) {
    io.stderr(`note: whom the server of this machine has revoked is not known: ${toFailure(error).message}\n`);
    return undefined;
  }
}

/** The command to be pasted stands alone on standard output; what to know of it goes beside it. */
function printToken(
  { agent, token, server, expiresWallMs, replace }: EnrollTokenAnswer,
  json: boolean,
  io: PkiIo,
): void {
  const expires = isoSeconds(expiresWallMs);
  if (json) {
    io.stdout(`${JSON.stringify({ agent, token, server, expires, replace })}\n`);
    return;
  }
  io.stderr(`On the machine that is to be ${agent}, until ${expires}:\n`);
  io.stdout(`nbackup-agent enroll ${server} ${token}\n`);
  if (replace) io.stderr(`When it has its certificate, all older ones of ${agent} are revoked.\n`);
}

/** What lies on disk is read again, so that what is printed is what is there. */
function printMade(made: Made, command: { readonly json: boolean }, io: PkiIo): void {
  const { certificate } = must(readCertificates(made.certPath)[0], "the certificate just made");
  const names = [...certificate.dnsNames, ...certificate.ipAddresses];
  const subject = nameText(certificate.subject);
  const notAfter = isoSeconds(certificate.notAfterMs);
  const { fingerprint, serial } = certificate;
  if (command.json) {
    const { certPath, keyPath } = made;
    io.stdout(
      `${JSON.stringify({ certificate: certPath, key: keyPath, subject, names, serial, notAfter, fingerprint })}\n`,
    );
    return;
  }
  const lines = [
    `certificate  ${printable(made.certPath)}`,
    `key          ${printable(made.keyPath)} (secret)`,
    `subject      ${subject}`,
    ...(names.length === 0 ? [] : [`names        ${names.join(", ")}`]),
    `valid until  ${notAfter}`,
    `SHA-256      ${fingerprint}`,
  ];
  io.stdout(`${lines.join("\n")}\n`);
}

/** One unreadable file does not hide the others; the exit status tells of it. */
function show(command: PkiCommand & { readonly command: "show" }, nowMs: number, io: PkiIo): number {
  let exitCode = 0;
  for (const filePath of filesToShow(command.files, command.dir)) {
    try {
      for (const shown of describeFile(filePath, command.dir, nowMs)) {
        io.stdout(command.json ? `${JSON.stringify(shown)}\n` : `${showText(shown, nowMs)}\n`);
      }
    } catch (error) {
      const failure = toFailure(error);
      printFailure(failure, io);
      exitCode = failure.exitCode;
    }
  }
  if (command.dir === undefined || command.files.length > 0) return exitCode;
  const revocations = listRevocations(command.dir);
  if (command.json) for (const one of revocations) io.stdout(`${JSON.stringify(one)}\n`);
  else io.stdout(revocationsText(revocations));
  return exitCode;
}

function printFailure(failure: Failure, io: PkiIo): void {
  io.stderr(`${failure.toString()}\nHINT: ${failure.hint}\n`);
}

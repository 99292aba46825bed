/** What `nbackup-server setup` asks a person, with a default for each; what an option has given is not asked. */
import os from "node:os";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import { Failure, toFailure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import type { SetupRequest, SetupStorage } from "#cli/setup-command.ts";
import { parseListenAddress } from "#config/address.ts";
import { parseHosts } from "#pki-tools/hosts.ts";

export interface SetupAnswers {
  readonly hosts: string;
  readonly listen: string;
  readonly enrollListen: string;
  readonly storages: readonly SetupStorage[];
  readonly maxBackups: number;
  /** The server may use the CA's key. */
  readonly enroll: boolean;
}

/** The answer, or the default for an empty line. Rejects with Failure E_USAGE when nobody answers any more. */
export type Ask = (question: string, fallback: string) => Promise<string>;

export const DEFAULT_LISTEN = "0.0.0.0:9847";
export const DEFAULT_ENROLL_LISTEN = "0.0.0.0:9846";
const DEFAULT_MAX_BACKUPS = 14;

/** `ask` undefined: nobody is there, and what is not given is the default. */
export async function setupAnswers(request: SetupRequest, ask: Ask | undefined): Promise<SetupAnswers> {
  const hosts =
    request.hosts ??
    (await valid(ask, "Names and addresses under which agents reach this server", machineHosts(), (text) => {
      parseHosts(text);
    }));
  parseHosts(hosts);
  const listen = request.listen ?? (await valid(ask, "Listen for agents on", DEFAULT_LISTEN, checkListen));
  const storages = request.storages.length > 0 ? request.storages : [await askStorage(request, ask)];
  const maxBackups =
    request.maxBackups ??
    Number(await valid(ask, "Archives to keep of each agent's backup", String(DEFAULT_MAX_BACKUPS), checkCount));
  const enroll =
    !request.noEnroll &&
    isYes(
      await valid(
        ask,
        "May this server issue certificates, so that agents enrol and renew by themselves",
        "yes",
        checkYes,
      ),
    );
  return { hosts, listen, enrollListen: request.enrollListen ?? DEFAULT_ENROLL_LISTEN, storages, maxBackups, enroll };
}

async function askStorage({ configFile }: SetupRequest, ask: Ask | undefined): Promise<SetupStorage> {
  const file = path.resolve(configFile);
  const fallback = file.startsWith("/etc/") ? "/srv/nbackup" : path.join(path.dirname(file), "storage");
  const name = await valid(ask, "Name of the storage", "main", (text) => {
    if (!isName(text)) throw new Failure("E_NAME", `this is not a name: ${NAME_RULE}`);
  });
  const baseDir = await valid(ask, "Its directory", fallback, (text) => {
    if (!path.isAbsolute(text)) throw new Failure("E_USAGE", "this is not an absolute path");
  });
  return { name, baseDir };
}

/** Asks until the answer will do. */
async function valid(
  ask: Ask | undefined,
  question: string,
  fallback: string,
  check: (text: string) => void,
): Promise<string> {
  if (ask === undefined) return fallback;
  let again = "";
  for (;;) {
    const answer = await ask(`${again}${question}`, fallback);
    try {
      check(answer);
      return answer;
    } catch (error) {
      again = `${toFailure(error).message}\n`;
    }
  }
}

function checkListen(text: string): void {
  const problem = parseListenAddress(text);
  if (typeof problem === "string") throw new Failure("E_USAGE", problem);
}

function checkCount(text: string): void {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Failure("E_USAGE", "this is not a whole number from 1 on");
}

function checkYes(text: string): void {
  if (!/^(?:y|yes|n|no)$/i.test(text)) throw new Failure("E_USAGE", "answer yes or no");
}

function isYes(text: string): boolean {
  return /^y/i.test(text);
}

/** What this machine is called and which addresses it has; its own ones last, for who tries it out on one machine. */
function machineHosts(): string {
  const name = os.hostname().toLowerCase();
  const addresses = Object.values(os.networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:") && !address.startsWith("169.254."))
    .map(({ address }) => address);
  const hosts = [name, ...addresses, "localhost", "127.0.0.1", "::1"].filter(isHostName);
  return [...new Set(hosts)].join(",");
}

function isHostName(host: string): boolean {
  try {
    parseHosts(host);
    return true;
  } catch {
    return false; // A machine may be called anything.
  }
}

function unanswered(): Failure {
  return new Failure("E_USAGE", "nobody answers any more: nothing was changed", {
    hint: "Give --yes for the defaults of what no option says.",
  });
}

/** Questions on standard error, answers from standard input: a terminal, or a file with a line for each. */
export class Terminal {
  readonly #stderr: (text: string) => void;
  readonly #lines: Interface;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  readonly #came: string[] = [];
  #over = false;

  constructor(stderr: (text: string) => void) {
    this.#stderr = stderr;
    this.#lines = createInterface({ input: process.stdin });
    this.#lines.on("line", (line) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#came.push(line);
      else next(line);
    });
    this.#lines.on("close", () => {
      this.#over = true;
      for (const next of this.#waiting.splice(0)) next(undefined);
    });
  }

  readonly ask: Ask = async (question, fallback) => {
    this.#stderr(`${question} [${fallback}]: `);
    const line = await this.#line();
    if (line === undefined) throw unanswered();
    return line.trim() === "" ? fallback : line.trim();
  };

  /** A read of the terminal that is under way must not keep the process. */
  close(): void {
    this.#lines.close();
    process.stdin.pause();
    // A file has nothing to be let go of, whatever the types say.
    const { stdin }: { readonly stdin: { unref?(): void } } = process;
    stdin.unref?.();
  }

  #line(): Promise<string | undefined> {
    const line = this.#came.shift();
    if (line !== undefined || this.#over) return Promise.resolve(line);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

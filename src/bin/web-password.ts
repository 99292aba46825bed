/** `nbackup-server web-password`: asks for a password and gives its hash. The password itself is written nowhere and shown nowhere. */
import { chmodSync, renameSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { errnoName, Failure } from "#base/errors.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { PASSWORD_BYTES_MAX } from "#web/passwords.ts";

/** Shorter ones are guessed. */
const CHARACTERS_MIN = 10;
const CTRL_C = "\u0003";

interface Terminal {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/** Throws Failure E_USAGE for a password that will not do, E_WRITE. */
export async function runWebPassword(output: string | undefined, { stdout, stderr }: Terminal): Promise<number> {
  const password = process.stdin.isTTY ? await typed(stderr) : await firstLine();
  if ([...password].length < CHARACTERS_MIN) {
    throw new Failure("E_USAGE", `the password has fewer than ${CHARACTERS_MIN} characters`);
  }
  if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX) {
    throw new Failure("E_USAGE", `the password has more than ${PASSWORD_BYTES_MAX} bytes`);
  }
  const hash = `${await Bun.password.hash(password, "argon2id")}\n`;
  if (output === undefined) stdout(hash);
  else replace(output, hash);
  return EXIT.done;
}

function replace(file: string, text: string): void {
  try {
    const made = `${file}.new`;
    writeFileSync(made, text, { mode: 0o600 });
    // One that was there before keeps its mode when it is written to.
    chmodSync(made, 0o600);
    renameSync(made, file);
  } catch (error) {
    throw writeFailure(file, error);
  }
}

function writeFailure(file: string, cause: unknown): Failure {
  return new Failure("E_WRITE", `${file} cannot be written: ${errnoName(cause) ?? String(cause)}`, { cause });
}

async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line;
  throw new Failure("E_USAGE", "standard input holds no password");
}

async function typed(stderr: (text: string) => void): Promise<string> {
  const first = await hidden("Password: ", stderr);
  const second = await hidden("Again: ", stderr);
  if (first !== second) throw new Failure("E_USAGE", "the two passwords differ");
  return first;
}

/** A line from the terminal without showing it. */
function hidden(question: string, stderr: (text: string) => void): Promise<string> {
  const { stdin } = process;
  stderr(question);
  stdin.setRawMode(true);
  stdin.resume();
  return new Promise((resolve, reject) => {
    let line = "";
    const end = (): void => {
      stdin.off("data", take);
      stdin.setRawMode(false);
      stdin.pause();
      stderr("\n");
    };
    const take = (bytes: Buffer): void => {
      for (const character of bytes.toString("utf8")) {
        if (character === CTRL_C) {
          end();
          reject(new Failure("E_USAGE", "interrupted"));
          return;
        }
        if (character === "\r" || character === "\n") {
          end();
          resolve(line);
          return;
        }
        line = character === "\u007f" ? line.slice(0, -1) : line + character;
      }
    };
    stdin.on("data", take);
  });
}

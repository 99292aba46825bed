/** Runs the commands of `pki` in this process, in one directory and at one time, and reads what they left there. */
import { expect } from "bun:test";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { type Certificate, parseCertificate } from "#pki/certificate.ts";
import { Failure } from "#base/errors.ts";
import { runPki } from "#pki-tools/pki.ts";
import type { PkiServer } from "#pki-tools/revoke.ts";

export const NOW_MS = Date.UTC(2026, 1, 12, 2, 0, 0, 500);

export interface Outcome {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** The machine that a command runs on. */
export interface Around {
  /** Of the default configuration; there is none unless told. */
  readonly server?: PkiServer;
  /** Waits that were asked for, in order. */
  readonly sleeps?: number[];
}

/** Runs one command as it stands; `nowMs` is the wall clock. */
export async function pki(argv: readonly string[], nowMs = NOW_MS, around: Around = {}): Promise<Outcome> {
  let out = "";
  let err = "";
  const exit = await runPki(argv, {
    stdout: (text) => {
      out += text;
    },
    stderr: (text) => {
      err += text;
    },
    clock: { wall: () => nowMs },
    random: { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)), unit: () => 0 },
    server: (configFile) => {
      if (configFile === undefined || around.server !== undefined) return around.server;
      throw new Failure("E_CONFIG_READ", `${configFile} does not exist`);
    },
    sleep: (ms) => {
      around.sleeps?.push(ms);
      return Promise.resolve();
    },
    // The running server of these tests knows one token.
    enrollToken: ({ agent, replace }) =>
      Promise.resolve({ agent, token: "nbe1secret", server: "backup:9846", expiresWallMs: nowMs, replace }),
  });
  return { exit, out, err };
}

export class PkiDirectory {
  readonly dir: string;

  /** The directory need not be there. */
  constructor(dir: string) {
    this.dir = dir;
  }

  /** Runs a command that must succeed; returns its output. */
  async good(command: string, ...argv: string[]): Promise<string> {
    const { exit, out, err } = await pki([command, "--dir", this.dir, ...argv]);
    expect({ exit, err: err.replace(/^note: .*\n/gm, "") }).toEqual({ exit: 0, err: "" });
    return out;
  }

  /** Runs a command that must fail in two lines, without a trace; returns exit status and first line, `D` for the dir. */
  async bad(command: string, ...argv: string[]): Promise<string> {
    const before = this.contents();
    const { exit, out, err } = await pki([command, "--dir", this.dir, ...argv]);
    expect(err).toMatch(/^E_[A-Z]+: [^\n]+\nHINT: [^\n]+\.\n$/);
    expect(out).toBe("");
    expect(this.contents()).toEqual(before);
    return `${exit} ${err.split("\n")[0]?.replaceAll(this.dir, "D") ?? ""}`;
  }

  /** Every file, hidden ones too, by name. */
  contents(): Record<string, string> {
    const names = fs.existsSync(this.dir) ? fs.readdirSync(this.dir).sort() : [];
    return Object.fromEntries(names.map((name) => [name, fs.readFileSync(this.at(name), "utf8")]));
  }

  at(name: string): string {
    return path.join(this.dir, name);
  }

  certificate(name: string): Certificate {
    return parseCertificate(new X509Certificate(fs.readFileSync(this.at(name))).raw);
  }

  /** Permission bits in octal: `600`. */
  mode(name: string): string {
    return (fs.statSync(this.at(name)).mode & 0o7777).toString(8);
  }
}

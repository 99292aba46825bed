/**
 * The enrolment tokens of a server, kept in its state directory as `enroll-tokens.json`: of each the hash of its secret, never the
 * secret, so that who steals the directory can enrol nobody. What became of a token is remembered for a week, because "it expired" is a
 * better answer than "it is not known". When the file is lost no token is good any more, and new ones are made.
 */
import { z } from "zod";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { isName } from "#base/names.ts";
import { secretHash } from "#pki/enroll-token.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { isRevoked } from "#pki/revocations.ts";
import type { Disk } from "#store/disk.ts";
import { StateFile } from "#store/state-file.ts";
import type { Revocations } from "./revocations.ts";

/** Time for a person to walk over to the other machine, and no more. */
const TOKEN_LIFE_MS = 3_600_000;
const REMEMBERED_MS = 7 * 86_400_000;
/** Tokens remembered: a new one for each of the largest installation meant here, twice. The oldest that is over goes first. */
const TOKENS_MAX = 2_000;
/** A clock that was set back by more than this would let a token live for ever. */
const CLOCK_BACK_MAX_MS = 600_000;

const issued = z.object({
  /** SHA-256 of the public key that asked, hex: no other key gets anything for this token any more. */
  keyHash: z.string(),
  /** PEM, as it is sent again when the answer was lost. */
  certPem: z.string(),
  fingerprint: z.string(),
  serial: z.string(),
  notBeforeMs: z.number(),
  notAfterMs: z.number(),
  /** Of a token that replaces: what is older than this is revoked when the certificate was delivered. */
  revokesMs: z.number().optional(),
});

const record = z.object({
  /** Of the secret, hex. */
  hash: z.string(),
  agent: z.string().refine(isName),
  /** The agent's live certificates are revoked when the new one was delivered. */
  replace: z.boolean(),
  madeWallMs: z.number(),
  expiresWallMs: z.number(),
  /** `used`: its certificate was delivered. `withdrawn`: a newer token for the agent took its place. */
  state: z.enum(["open", "used", "withdrawn"]),
  issued: issued.optional(),
});
const schema = z.object({ tokens: z.array(record) });

export type TokenRecord = Readonly<z.infer<typeof record>>;
export type IssuedByToken = NonNullable<TokenRecord["issued"]>;

export interface EnrollTokensOptions {
  readonly disk: Disk;
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly revocations: Pick<Revocations, "beforeMs" | "isRevoked">;
}

export class EnrollTokens {
  readonly #file: StateFile;
  readonly #clock: Clock;
  readonly #revocations: EnrollTokensOptions["revocations"];
  /** By hash, in the order in which they were made. */
  readonly #tokens: Map<string, TokenRecord>;

  private constructor(file: StateFile, options: EnrollTokensOptions, tokens: readonly TokenRecord[]) {
    this.#file = file;
    this.#clock = options.clock;
    this.#revocations = options.revocations;
    this.#tokens = new Map(tokens.map((token) => [token.hash, token]));
  }

  /** Never rejects: what cannot be read is said in the log, and no token is good. */
  static async open(options: EnrollTokensOptions): Promise<EnrollTokens> {
    const { disk, stateDir, log } = options;
    const file = new StateFile(disk, stateDir, "enroll-tokens.json");
    let tokens: readonly TokenRecord[] = [];
    try {
      const found = await file.read();
      if (found !== undefined) ({ tokens } = schema.parse(found));
    } catch (error) {
      log.warn("the enrolment tokens cannot be read: none is good any more", { file: file.name, error: String(error) });
    }
    return new EnrollTokens(file, options, tokens);
  }

  /** A new token for the agent; an open one of the same agent is withdrawn. Rejects with what the disk throws. */
  async add(secret: Uint8Array, agent: string, replace: boolean): Promise<TokenRecord> {
    const nowMs = this.#clock.wall();
    for (const token of this.#tokens.values()) {
      if (token.agent === agent && token.state === "open") this.#set({ ...token, state: "withdrawn" });
    }
    const token: TokenRecord = {
      ...{ hash: secretHash(secret), agent, replace, state: "open" },
      ...{ madeWallMs: nowMs, expiresWallMs: nowMs + TOKEN_LIFE_MS },
    };
    this.#set(token);
    this.#forget(nowMs);
    try {
      await this.#write();
    } catch (error) {
      // Nobody gets to know its secret.
      this.#tokens.delete(token.hash);
      throw error;
    }
    return token;
  }

  /** The token of a secret, good now. Throws Failure E_ENROLL_TOKEN that says what is wrong with it, or E_REVOKED. */
  find(secret: Uint8Array): TokenRecord {
    const token = this.#tokens.get(secretHash(secret));
    if (token === undefined) throw tokenFailure("this server does not know the token");
    return this.current(token);
  }

  /** What is known now of a token that was good before; it may have expired or been used meanwhile. Throws as `find` does. */
  current({ hash }: TokenRecord): TokenRecord {
    const token = this.#tokens.get(hash);
    if (token === undefined) throw tokenFailure("this server does not know the token");
    if (token.state === "used") throw tokenFailure("the token was used already");
    if (token.state === "withdrawn") throw tokenFailure("a newer token was made for the same agent");
    if (this.#leftMs(token) <= 0) throw tokenFailure(`the token expired at ${isoSeconds(token.expiresWallMs)}`);
    if (this.#isRevoked(token)) throw revokedToken(token.agent);
    return token;
  }

  /** Until the last good token expires, milliseconds; undefined: there is none. */
  get goodForMs(): number | undefined {
    const left = this.#open().map((token) => this.#leftMs(token));
    return left.length === 0 ? undefined : Math.max(...left);
  }

  /** Resolves when the disk has it: nothing of it may be sent before. Rejects with what the disk throws. */
  async keepIssued(token: TokenRecord, what: IssuedByToken): Promise<void> {
    const before = this.current(token);
    const after = { ...before, issued: what };
    this.#set(after);
    try {
      await this.#write();
    } catch (error) {
      // Who asks again must not get from memory what the disk does not know.
      if (this.#tokens.get(before.hash) === after) this.#set(before);
      throw error;
    }
  }

  /** Its certificate was delivered: it is good for nothing any more. Rejects with what the disk throws. */
  async used(token: TokenRecord): Promise<void> {
    const known = this.#tokens.get(token.hash);
    if (known === undefined) return;
    // The certificate was only kept for an answer that was lost.
    const { issued: _, ...rest } = known;
    this.#set({ ...rest, state: "used" });
    await this.#write();
  }

  #open(): TokenRecord[] {
    return [...this.#tokens.values()].filter(
      (token) => token.state === "open" && this.#leftMs(token) > 0 && !this.#isRevoked(token),
    );
  }

  /** What was given out before its agent was revoked is no way back in: the token, or the certificate that it has got. */
  #isRevoked({ agent, madeWallMs, issued: given }: TokenRecord): boolean {
    // Revocations know whole seconds.
    if (given !== undefined) return this.#revocations.isRevoked(agent, given);
    const notBeforeMs = Math.floor(madeWallMs / 1000) * 1000;
    return isRevoked({ notBeforeMs }, this.#revocations.beforeMs(agent));
  }

  #leftMs({ madeWallMs, expiresWallMs }: TokenRecord): number {
    const nowMs = this.#clock.wall();
    return nowMs < madeWallMs - CLOCK_BACK_MAX_MS ? 0 : expiresWallMs - nowMs;
  }

  #set(token: TokenRecord): void {
    this.#tokens.set(token.hash, token);
  }

  #forget(nowMs: number): void {
    for (const token of this.#tokens.values()) {
      const over = token.state !== "open" || this.#leftMs(token) <= 0;
      if (over && (nowMs - token.expiresWallMs > REMEMBERED_MS || this.#tokens.size > TOKENS_MAX)) {
        this.#tokens.delete(token.hash);
      }
    }
    const [oldest] = this.#tokens.keys();
    if (this.#tokens.size > TOKENS_MAX && oldest !== undefined) this.#tokens.delete(oldest);
  }

  #write(): Promise<void> {
    return this.#file.write(() => ({ tokens: [...this.#tokens.values()] }));
  }
}

function tokenFailure(message: string): Failure {
  return new Failure("E_ENROLL_TOKEN", message);
}

function revokedToken(agent: string): Failure {
  return new Failure("E_REVOKED", `agent ${agent} was revoked after the token was made`, {
    hint: `If it may come in: nbackup-server pki enroll-token ${agent}, and the token that this prints.`,
  });
}

/**
 * The page's password and who has given it. A browser gets a cookie for its login, because then the password crosses the wire once, a page
 * can ask for it and there is a way out; a program that cannot log in, like a collector of metrics, gives it with each request (Basic), and
 * the slow hash is computed once for it. Wrong ones cost the address that tries them more and more time. How passwords are hashed
 * is the caller's.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import type { Random } from "#base/random.ts";
import { attemptKey } from "./addresses.ts";
import { Refused } from "./http.ts";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
/** Longer ones are not looked at. */
export const PASSWORD_BYTES_MAX = 1_024;
/** Wrong ones of an address that cost nothing. */
const FREE_ATTEMPTS = 5;
const WAIT_MS_MAX = 15 * 60 * SECOND_MS;
/** An address that has been quiet for so long begins anew. */
const FORGET_MS = HOUR_MS;
/** Wrong ones of all addresses together, in an hour: beyond it only those are looked at that have given the right one before. */
const WRONG_IN_ALL_MAX = 500;
const ADDRESSES_MAX = 10_000;
/** Each takes 64 MB and a processor for a moment. */
const CHECKS_AT_ONCE = 2;
const LOGINS_MAX = 1_000;
const LOGIN_IDLE_MS = 12 * HOUR_MS;
const LOGIN_AGE_MS = 7 * 24 * HOUR_MS;
const TOKEN_BYTES = 32;
/** Cookies of one request that are looked at. */
const TOKENS_MAX = 8;
const COOKIE = "nbackup_login";

/** Whether it is the password. Rejects when that cannot be told. */
export type CheckPassword = (password: string) => Promise<boolean>;

export interface PasswordsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly check: CheckPassword;
  /** The cookie goes over TLS only. */
  readonly secure: boolean;
  /** A wrong password came. */
  readonly onWrong: (address: string, waitMs: number) => void;
}

interface Attempt {
  wrong: number;
  lastMs: number;
  /** The next one is not looked at before. */
  notBeforeMs: number;
}

interface Login {
  readonly sinceMs: number;
  usedMs: number;
}

export class Passwords {
  readonly #options: PasswordsOptions;
  readonly #attempts = new Map<string, Attempt>();
  /** By the hash of the token: what memory gives away opens nothing. */
  readonly #logins = new Map<string, Login>();
  readonly #macKey: Uint8Array;
  /** Of the password that was right last with Basic. */
  #rightMac: Buffer | undefined;
  #checking = 0;
  /** Wrong ones of all since then. */
  #wrong = { sinceMs: 0, count: 0 };
  /** Addresses that the right one came from. */
  readonly #known = new Set<string>();

  constructor(options: PasswordsOptions) {
    this.#options = options;
    this.#macKey = options.random.bytes(TOKEN_BYTES);
  }

  /** The value of Set-Cookie. Throws Refused: 401 for a wrong password, 429 too early or too many at a time. */
  async login(address: string, password: string): Promise<string> {
    await this.#verify(address, password);
    const { clock, random, secure } = this.#options;
    const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString("base64url");
    this.#logins.set(hashOf(token), { sinceMs: clock.now(), usedMs: clock.now() });
    const [oldest] = this.#logins.keys();
    if (this.#logins.size > LOGINS_MAX && oldest !== undefined) this.#logins.delete(oldest);
    return `${COOKIE}=${token}; Path=/; HttpOnly; SameSite=Strict${secure ? "; Secure" : ""}`;
  }

  /** The value of Set-Cookie that takes the cookie away. */
  logout(cookies: string | undefined): string {
    for (const token of tokensIn(cookies)) this.#logins.delete(hashOf(token));
    return `${COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict${this.#options.secure ? "; Secure" : ""}`;
  }

  /** By the cookie alone, which is used by that. */
  isLoggedIn(cookies: string | undefined): boolean {
    const login = this.#login(cookies);
    if (login !== undefined) login.usedMs = this.#options.clock.now();
    return login !== undefined;
  }

  /** The same, of somebody who only watches. */
  isStillLoggedIn(cookies: string | undefined): boolean {
    return this.#login(cookies) !== undefined;
  }

  /** Whether an Authorization header is right; false when there is none. Throws Refused as `login` does. */
  async isRight(address: string, authorization: string | undefined): Promise<boolean> {
    const password = basicPassword(authorization);
    if (password === undefined) return false;
    // Before it is compared with anything: an answer that comes quickly would tell who has to wait what is right.
    this.#mayTry(attemptKey(address));
    const mac = createHmac("sha256", this.#macKey).update(password).digest();
    if (this.#rightMac !== undefined && timingSafeEqual(mac, this.#rightMac)) return true;
    await this.#verify(address, password);
    this.#rightMac = mac;
    return true;
  }

  #login(cookies: string | undefined): Login | undefined {
    const nowMs = this.#options.clock.now();
    for (const token of tokensIn(cookies)) {
      const hash = hashOf(token);
      const login = this.#logins.get(hash);
      if (login === undefined) continue;
      if (nowMs - login.usedMs <= LOGIN_IDLE_MS && nowMs - login.sinceMs <= LOGIN_AGE_MS) return login;
      this.#logins.delete(hash);
    }
    return undefined;
  }

  async #verify(address: string, password: string): Promise<void> {
    const key = attemptKey(address);
    this.#mayTry(key);
    const nowMs = this.#options.clock.now();
    // Counted before it is known: attempts that run side by side are attempts, and so is one that others leave no room for, because with
    // Basic it was compared with the one that was right last.
    const attempt = this.#count(key, nowMs);
    if (this.#checking >= CHECKS_AT_ONCE) throw tooMany("others give their passwords just now", SECOND_MS);
    this.#checking += 1;
    try {
      const right = Buffer.byteLength(password) <= PASSWORD_BYTES_MAX && (await this.#options.check(password));
      if (right) {
        this.#attempts.delete(key);
        this.#knows(key);
        return;
      }
    } finally {
      this.#checking -= 1;
    }
    this.#wrong.count += 1;
    this.#options.onWrong(address, Math.max(0, attempt.notBeforeMs - nowMs));
    throw new Refused(401, "unauthorized", "the password is wrong");
  }

  /** Throws Refused 429. */
  #mayTry(key: string): void {
    const nowMs = this.#options.clock.now();
    const waitMs = (this.#attempts.get(key)?.notBeforeMs ?? 0) - nowMs;
    if (waitMs > 0) throw tooMany("after wrong passwords the next one is looked at later", waitMs);
    if (nowMs - this.#wrong.sinceMs >= HOUR_MS) this.#wrong = { sinceMs: nowMs, count: 0 };
    if (this.#wrong.count < WRONG_IN_ALL_MAX || this.#known.has(key)) return;
    throw tooMany("too many wrong passwords came from everywhere", this.#wrong.sinceMs + HOUR_MS - nowMs);
  }

  #knows(key: string): void {
    // The one that came last stands last.
    this.#known.delete(key);
    this.#known.add(key);
    const [oldest] = this.#known;
    if (this.#known.size > LOGINS_MAX && oldest !== undefined) this.#known.delete(oldest);
  }

  #count(key: string, nowMs: number): Attempt {
    const known = this.#attempts.get(key);
    const attempt =
      known !== undefined && nowMs - known.lastMs < FORGET_MS ? known : { wrong: 0, lastMs: 0, notBeforeMs: 0 };
    attempt.wrong += 1;
    attempt.lastMs = nowMs;
    const beyond = attempt.wrong - FREE_ATTEMPTS;
    if (beyond >= 0) attempt.notBeforeMs = nowMs + Math.min(WAIT_MS_MAX, SECOND_MS * 2 ** beyond);
    // The newest stands last: the one that was quiet for longest is forgotten first.
    this.#attempts.delete(key);
    this.#attempts.set(key, attempt);
    const [oldest] = this.#attempts.keys();
    if (this.#attempts.size > ADDRESSES_MAX && oldest !== undefined) this.#attempts.delete(oldest);
    return attempt;
  }
}

function tooMany(message: string, waitMs: number): Refused {
  return new Refused(429, "too-many", message, { headers: { "retry-after": String(Math.ceil(waitMs / SECOND_MS)) } });
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** All of our name: whatever else serves on this host, on another port, can set one of a longer path, which then stands before ours. */
function tokensIn(cookies: string | undefined): readonly string[] {
  const tokens: string[] = [];
  for (const cookie of cookies?.split(";") ?? []) {
    const [name, value] = cookie.trim().split("=");
    if (name === COOKIE && value !== undefined && value.length < 100) tokens.push(value);
    if (tokens.length === TOKENS_MAX) break;
  }
  return tokens;
}

/** The user's name may be anything: there is one password. */
function basicPassword(authorization: string | undefined): string | undefined {
  const encoded = /^basic ([A-Za-z0-9+/=]{1,2000})$/i.exec(authorization ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : text.slice(colon + 1);
}

/**
 * How many wrong tokens may be tried. Nobody finds 128 random bits: what is limited is the noise, and the work of who tries all the same.
 * Each address has its own budget, and wrong tokens of all addresses share one more, so that thousands of addresses are no way round it;
 * a right token is only ever kept waiting by its own address. Pure counting.
 */
import { Failure } from "#base/errors.ts";

/** Wrong tokens that one address may try at once: a person mistypes a few times. */
const WRONG_BURST = 5;
/** Then one in so long. */
const WRONG_EVERY_MS = 60_000;
/** The same of all addresses. */
const ALL_BURST = 100;
const ALL_EVERY_MS = 1_000;
/** Addresses remembered; the one heard of longest ago is forgotten first. */
const ADDRESSES_MAX = 4_096;

class Budget {
  readonly #burst: number;
  readonly #everyMs: number;
  #left: number;
  #countedAtMs: number;

  constructor(burst: number, everyMs: number, nowMs: number) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#left = burst;
    this.#countedAtMs = nowMs;
  }

  /** Until one more may be tried; 0: now. */
  waitMs(nowMs: number): number {
    this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#countedAtMs) / this.#everyMs);
    this.#countedAtMs = nowMs;
    return this.#left >= 1 ? 0 : (1 - this.#left) * this.#everyMs;
  }

  take(): void {
    this.#left = Math.max(0, this.#left - 1);
  }
}

export class EnrollGuard {
  readonly #all: Budget;
  /** By network; in the order in which they were last wrong. */
  readonly #byNetwork = new Map<string, Budget>();

  constructor(nowMs: number) {
    this.#all = new Budget(ALL_BURST, ALL_EVERY_MS, nowMs);
  }

  /** Throws Failure E_LIMIT while this address has tried too many wrong tokens. `address` as `192.0.2.7:40812`. */
  check(address: string, nowMs: number): void {
    const waitMs = this.#byNetwork.get(networkOf(address))?.waitMs(nowMs) ?? 0;
    if (waitMs === 0) return;
    throw new Failure("E_LIMIT", "too many wrong tokens came from this address", {
      hint: `Try again in ${Math.ceil(waitMs / 1000)} s.`,
      retryAfterMs: Math.ceil(waitMs),
    });
  }

  /** A wrong token came. False: too many of all addresses did, and this one is not worth an answer. */
  wrong(address: string, nowMs: number): boolean {
    const network = networkOf(address);
    const budget = this.#byNetwork.get(network) ?? new Budget(WRONG_BURST, WRONG_EVERY_MS, nowMs);
    budget.waitMs(nowMs);
    budget.take();
    this.#byNetwork.delete(network);
    this.#byNetwork.set(network, budget);
    const [oldest] = this.#byNetwork.keys();
    if (this.#byNetwork.size > ADDRESSES_MAX && oldest !== undefined) this.#byNetwork.delete(oldest);
    const answered = this.#all.waitMs(nowMs) === 0;
    this.#all.take();
    return answered;
  }
}

/** An IPv4 address; of an IPv6 address the first 64 bits, because one host has all the others. */
export function networkOf(address: string): string {
  const host = (/^\[(.*)\]:\d+$/.exec(address)?.[1] ?? address.replace(/:\d+$/, "")).toLowerCase();
  if (!host.includes(":")) return host;
  const [head = "", tail] = host.split("::");
  const groups = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const missing = tail === undefined ? 0 : Math.max(0, 8 - groups.length - last.length);
  const all = [...groups, ...Array.from({ length: missing }, () => "0"), ...last];
  return `${all
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}

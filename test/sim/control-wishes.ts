/**
 * An administrator of the simulated server who asks agents for runs over their control channels. Each wish that is taken is
 * one run, each that is refused is none and has a true reason; of one whose answer was lost there is at most one.
 */
import { type Failure, toFailure } from "#base/errors.ts";
import type { Chance } from "./chance.ts";
import type { AgentHost } from "./agent-host.ts";
import { CONTROL_LOOK_MS } from "./control-checks.ts";
import type { SimProcess } from "./process.ts";
import type { ServerHost } from "./server-host.ts";
import type { Trace } from "./trace.ts";
import type { Witness } from "./witness.ts";

export interface ControlWishesOptions {
  readonly trace: Trace;
  readonly witness: Witness;
  readonly server: ServerHost;
  readonly agents: readonly AgentHost[];
  readonly chance: Chance;
  readonly now: () => number;
}

interface Wish {
  readonly askedAtMs: number;
  readonly process: SimProcess;
  waitedMs: number;
}

/** Of one entry, all wishes so far. */
interface Tally {
  /** Whose answer may still come, or was lost. */
  readonly open: Set<Wish>;
  lost: number;
  accepted: number;
  begun: number;
  /** Processes that run it, and when the last one ended. */
  busy: number;
  busyAtMs: number;
}

/** RUN_ANSWER_MS, and one look. */
const ANSWER_MS_MAX = 31_000;
const NO_ENTRY = "no-such-entry";
/** Nobody knows what became of the wish. */
const LOST: readonly string[] = ["E_DISCONNECTED", "E_TIMEOUT", "E_SHUTDOWN"];
/** It was never sent. */
const UNSENT: readonly string[] = ["E_NOT_CONNECTED", "E_LIMIT"];

export class ControlWishes {
  readonly #options: ControlWishesOptions;
  readonly #tallies = new Map<string, Tally>();

  constructor(options: ControlWishesOptions) {
    this.#options = options;
  }

  /** Asks for one run of something. */
  give(): void {
    const { server, agents, chance, now } = this.#options;
    const { running } = server;
    const agent = chance.some(agents);
    const backup = chance.happens(0.1) ? NO_ENTRY : chance.some(agent?.backups ?? []);
    if (agent === undefined || backup === undefined || running?.server === undefined || !running.process.isRunning)
      return;
    const entry = `${agent.commonName}/${backup}`;
    const tally = this.#tallyOf(entry);
    const wish: Wish = { askedAtMs: now(), process: running.process, waitedMs: 0 };
    tally.open.add(wish);
    const request = { command: "run", agent: agent.commonName, backup };
    // Of its surroundings it needs nothing.
    running.server.admin.handle(request, undefined as never).then(
      () => this.#accepted(entry, tally, wish),
      (error: unknown) => this.#refused(entry, tally, wish, toFailure(error)),
    );
  }

  /** A run that was asked for begins in an agent. */
  begins(entry: string): void {
    const tally = this.#tallyOf(entry);
    tally.begun += 1;
    this.#check(entry, tally);
  }

  busy(entry: string, busy: boolean): void {
    const tally = this.#tallyOf(entry);
    tally.busy += busy ? 1 : -1;
    tally.busyAtMs = this.#options.now();
  }

  /** Called each CONTROL_LOOK_MS: no answer is waited for for ever. */
  look(): void {
    for (const [entry, { open }] of this.#tallies) {
      for (const wish of open) {
        if (wish.process.isRunning) wish.waitedMs += CONTROL_LOOK_MS;
        if (wish.process.isAlive && wish.waitedMs > ANSWER_MS_MAX)
          this.#options.witness.broken(`a run of ${entry} was asked for, and nobody says what becomes of it`);
      }
    }
  }

  #accepted(entry: string, tally: Tally, wish: Wish): void {
    this.#options.trace.count("wish accepted");
    tally.open.delete(wish);
    tally.accepted += 1;
    if (entry.endsWith(NO_ENTRY)) this.#options.witness.broken(`a run of ${entry} was accepted`);
    this.#check(entry, tally);
  }

  #refused(entry: string, tally: Tally, wish: Wish, { code, message }: Failure): void {
    const { trace, witness } = this.#options;
    trace.count(`wish ${code}`);
    tally.open.delete(wish);
    const isUnknown = entry.endsWith(NO_ENTRY);
    const wasBusy = tally.busy > 0 || tally.busyAtMs >= wish.askedAtMs;
    if (LOST.includes(code)) tally.lost += 1;
    else if (code === "E_BUSY" ? !wasBusy : code === "E_BACKUP_UNKNOWN" ? !isUnknown : !UNSENT.includes(code))
      witness.broken(`a run of ${entry} was refused without reason: ${code} ${message}`);
    this.#check(entry, tally);
  }

  #check(entry: string, { open, lost, accepted, begun }: Tally): void {
    if (begun < accepted || begun > accepted + lost + open.size)
      this.#options.witness.broken(`${accepted} runs of ${entry} were accepted, ${begun} begun`);
  }

  #tallyOf(entry: string): Tally {
    const known = this.#tallies.get(entry);
    if (known !== undefined) return known;
    const made: Tally = { open: new Set(), lost: 0, accepted: 0, begun: 0, busy: 0, busyAtMs: -1 };
    this.#tallies.set(entry, made);
    return made;
  }
}

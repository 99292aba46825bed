/**
 * What must be true of control channels: an agent never stops trying, and is back soon when there are no faults any more;
 * what the server says of an agent is what that agent has said, and lately where nothing disturbs. Wishes are control-wishes.ts.
 */
import type { AgentFacts } from "#agent/control-link.ts";
import type { AgentHost, AgentRun } from "./agent-host.ts";
import type { ServerHost } from "./server-host.ts";
import type { Trace } from "./trace.ts";
import type { Witness } from "./witness.ts";

export interface ControlChecksOptions {
  readonly trace: Trace;
  readonly witness: Witness;
  readonly server: ServerHost;
  readonly agents: readonly AgentHost[];
  readonly now: () => number;
  /** The faults have ended, and nobody but `agents` has their certificates. */
  readonly calm: () => boolean;
}

export const CONTROL_LOOK_MS = 500;
/** An attempt (10 s to connect, 10 s for the answer, 10 s for the one before to be asked) and the longest wait, 15 s. */
const UNTRIED_MS_MAX = 60_000;
/** Without faults: until a dead connection is given up on both sides, and then the longest wait and an attempt. */
const AWAY_MS_MAX = 90_000;
/** Since it is up: the first Ping is there, and all later ones come each 2 s. */
const SETTLED_MS = 10_000;
/** One that is older than the end of the faults may be dead, which nobody knows before it was silent for 20 s. */
const PROVEN_MS = 25_000;
const FRESH_MS = 8_000;

/** Of a process that runs, in its own time: what passed while it stood still does not count. */
interface Channel {
  untriedMs: number;
  awayMs: number;
  upMs: number;
  wasUp: boolean;
  /** Since when nothing disturbs. */
  calmSinceMs: number | undefined;
  /** Its connection was begun when there were no faults any more: one way of an older one may be lost without anybody knowing. */
  isFresh: boolean;
}

export class ControlChecks {
  readonly #options: ControlChecksOptions;
  readonly #channels = new WeakMap<AgentRun, Channel>();
  /** By agent and what it said of its entries: when it did so last. */
  readonly #told = new Map<string, number>();

  constructor(options: ControlChecksOptions) {
    this.#options = options;
  }

  told(agent: string, backups: AgentFacts["backups"]): void {
    this.#told.set(`${agent} ${JSON.stringify(backups)}`, this.#options.now());
  }

  /** Called each CONTROL_LOOK_MS. */
  look(): void {
    for (const agent of this.#options.agents) for (const run of agent.runs) this.#lookAt(agent, run);
    this.#checkTold();
  }

  /** Agents that the server takes for connected. */
  get present(): readonly string[] {
    const views = this.#options.server.running?.server?.agents() ?? [];
    return views.filter(({ connected }) => connected).map(({ agent }) => agent);
  }

  #lookAt(agent: AgentHost, run: AgentRun): void {
    const { trace, witness, now } = this.#options;
    const { control, process } = run;
    const channel = this.#channelOf(run);
    if (control === undefined || control.ended || !process.isRunning) {
      Object.assign(channel, { untriedMs: 0, awayMs: 0, upMs: 0 });
      return;
    }
    const { isUp } = control;
    const calm = this.#isCalm(agent, run);
    const tried = control.triedAtMs >= now() - CONTROL_LOOK_MS;
    channel.untriedMs = isUp || tried ? 0 : channel.untriedMs + CONTROL_LOOK_MS;
    channel.awayMs = isUp || !calm ? 0 : channel.awayMs + CONTROL_LOOK_MS;
    channel.upMs = isUp && calm ? channel.upMs + CONTROL_LOOK_MS : 0;
    if (isUp && !channel.wasUp) trace.count("state control.up");
    if (!calm) channel.calmSinceMs = undefined;
    else channel.calmSinceMs ??= now();
    if (isUp !== channel.wasUp || !calm) {
      channel.isFresh = isUp && channel.calmSinceMs !== undefined && control.triedAtMs >= channel.calmSinceMs;
    }
    if (!isUp && channel.wasUp) trace.count("state control.down");
    channel.wasUp = isUp;
    if (channel.untriedMs > UNTRIED_MS_MAX)
      witness.broken(`${process.name} has not tried to open its control channel for ${UNTRIED_MS_MAX} ms`);
    if (channel.awayMs > AWAY_MS_MAX)
      witness.broken(`${process.name} is without its control channel ${AWAY_MS_MAX} ms after the faults`);
    if (channel.upMs > (channel.isFresh ? SETTLED_MS : PROVEN_MS)) this.#checkFresh(agent, run);
  }

  /** Nothing keeps this process from being connected. */
  #isCalm(agent: AgentHost, run: AgentRun): boolean {
    const { calm, server } = this.#options;
    const { running } = server;
    const serves = running?.ready === true && !running.stopping && running.process.isRunning;
    return calm() && serves && agent.runs.length === 1 && run === agent.current && !run.retired;
  }

  /** `agents` has it, with what it said a moment ago, and with the sessions that are its own. */
  #checkFresh({ commonName }: AgentHost, { process }: AgentRun): void {
    const { server, witness, now } = this.#options;
    const view = server.running?.server?.agents().find(({ agent }) => agent === commonName);
    if (view?.connected !== true) {
      witness.broken(`${process.name} has its control channel, and the server says that it is not connected`);
      return;
    }
    const toldMs = this.#told.get(`${commonName} ${JSON.stringify(view.backups)}`);
    if (toldMs === undefined || now() - toldMs > FRESH_MS)
      witness.broken(`the server says of ${commonName} what it did not say lately: ${JSON.stringify(view.backups)}`);
    for (const { backup, session } of view.backups) {
      if (session === undefined) continue;
      const facts = witness.sessions.get(session);
      if (facts?.client !== process || facts.entry !== `${commonName}/${backup}`)
        witness.broken(`the server says that ${commonName} runs ${backup} as session ${session}, which is not so`);
    }
  }

  /** At any time: nothing is said of an agent that it has not said itself. */
  #checkTold(): void {
    const { server, witness } = this.#options;
    for (const { agent, backups, backupCount } of server.running?.server?.agents() ?? []) {
      if (backupCount > 0 && !this.#told.has(`${agent} ${JSON.stringify(backups)}`))
        witness.broken(`the server says of ${agent} what it never said: ${JSON.stringify(backups)}`);
    }
  }

  #channelOf(run: AgentRun): Channel {
    const known = this.#channels.get(run);
    if (known !== undefined) return known;
    const made = { untriedMs: 0, awayMs: 0, upMs: 0, wasUp: false, calmSinceMs: undefined, isFresh: false };
    this.#channels.set(run, made);
    return made;
  }
}

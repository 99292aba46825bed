/**
 * Control connections: which agents are connected, what they last told of themselves, and runs that they are asked for. One
 * connection of an agent counts: an older one is asked whether it lives before a newer takes its place. PROTOCOL.md "Control".
 * Sessions do not depend on it.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { MovingAverage } from "#base/moving-average.ts";
import type { EventSink } from "#observe/events.ts";
import type { AgentView } from "#observe/agent-views.ts";
import { HEARTBEAT_MS, KEEPALIVES_SILENT_MAX, SILENCE_MAX_MS } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { Succession } from "#pki/succession.ts";
import { agentView, type KnownAgent } from "./agent-view.ts";
import { ControlRuns } from "./control-runs.ts";
import { BUSY_RETRY_MS, CONTROL_CONNECTIONS_MAX, KNOWN_AGENTS_MAX, LIMIT_RETRY_MS } from "./limits.ts";
import type { Link, LinkOwner } from "./link.ts";
import type { RenewalDesk } from "./renewal-desk.ts";
import { connectionRefused } from "./session-ends.ts";

export type ServerFacts = NonNullable<Message<"pong">["server"]>;

export interface ControlHubOptions {
  readonly clock: Clock;
  readonly events: EventSink;
  /** What an agent is told in each Pong. */
  readonly facts: (agent: string) => ServerFacts;
  /** Whether a session of the agent runs. */
  readonly hasSession: (agent: string) => boolean;
  readonly renewals: Pick<RenewalDesk, "receive">;
  /** CAs that have followed that of the agents, asked each time: another list after a reload. */
  readonly successions: () => readonly Succession[];
  /** Asked each time: a reload may change it. */
  readonly lostGraceMs: () => number;
}

/** Who comes. */
export interface ControlClaim {
  readonly agent: string;
  readonly software: string;
  readonly keepaliveMs: number | undefined;
}

const NOTHING_TOLD: readonly Succession[] = [];

interface Connected extends KnownAgent {
  readonly link: Link;
  readonly rtt: MovingAverage;
  readonly runs: ControlRuns;
  /** The list that this connection was told. */
  toldSuccessions: readonly Succession[];
  /** The place in it, from 1, of the newest that the agent trusts; 0: none; `told`: the Ping that comes now was sent before it was told. */
  trusted: number | undefined | "told";
}

export class ControlHub {
  readonly #options: ControlHubOptions;
  readonly #connected = new Map<string, Connected>();
  /** Not connected now, in the order in which they went. */
  readonly #away = new Map<string, KnownAgent>();
  /** Agents whose connection went without a goodbye: until it is an event, if a session runs. */
  readonly #graces = new Map<string, Timer>();
  readonly #lost = new Set<string>();
  /** Agents of which a newcomer waits for the answer of the older connection. */
  readonly #probed = new Set<string>();
  #closed: Failure | undefined;

  constructor(options: ControlHubOptions) {
    this.#options = options;
  }

  get connectedCount(): number {
    return this.#connected.size;
  }

  /** Takes the connection, after the older one was asked, or refuses it. `welcome` says Welcome. */
  async receive(link: Link, claim: ControlClaim, welcome: () => void): Promise<void> {
    try {
      await this.#free(claim.agent);
      if (!link.over) this.#enter(link, claim, welcome);
    } catch (error) {
      const failure = toFailure(error);
      this.#options.events.emit(connectionRefused(link.remoteAddress, claim.agent, failure));
      link.refuse(failure);
    }
  }

  /** Asks the agent to run an entry now; resolves with what it says. Rejects with its refusal, or why it cannot be asked. */
  run(agent: string, backup: string): Promise<string> {
    const connected = this.#connected.get(agent);
    if (connected !== undefined) return connected.runs.ask(backup);
    const text = `agent ${agent} is not connected`;
    return Promise.reject(new Failure("E_NOT_CONNECTED", text, { retry: false }));
  }

  /** Connected agents and those seen since the start, by name. */
  agents(): AgentView[] {
    const views = [...this.#connected].map(([agent, known]) => {
      const newCa = standingOf(known, this.#options.successions());
      return { ...agentView(agent, known, this.#lost.has(agent), true), ...(newCa === undefined ? {} : { newCa }) };
    });
    for (const [agent, known] of this.#away) views.push(agentView(agent, known, this.#lost.has(agent), false));
    return views.sort((a, b) => (a.agent < b.agent ? -1 : 1));
  }

  /** Everyone hears why; nobody is let in any more. */
  close(failure: Failure): void {
    this.#closed = failure;
    for (const timer of this.#graces.values()) timer.cancel();
    this.#graces.clear();
    for (const { link, runs } of this.#connected.values()) {
      runs.fail(failure);
      link.refuse(failure);
    }
    this.#connected.clear();
  }

  async #free(agent: string): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed;
    const older = this.#connected.get(agent)?.link;
    if (older === undefined) return;
    if (this.#probed.has(agent)) throw busy(agent);
    this.#probed.add(agent);
    const alive = await older.probe();
    this.#probed.delete(agent);
    if (this.#closed !== undefined) throw this.#closed;
    if (alive) throw busy(agent);
    if (this.#connected.get(agent)?.link !== older) return;
    older.destroy();
    this.#gone(agent, older, "a newer connection took its place");
  }

  #enter(link: Link, { agent, software, keepaliveMs = HEARTBEAT_MS }: ControlClaim, welcome: () => void): void {
    if (this.#connected.has(agent)) throw busy(agent);
    if (this.#connected.size >= CONTROL_CONNECTIONS_MAX) {
      throw new Failure("E_LIMIT", `${CONTROL_CONNECTIONS_MAX} agents are connected already`, {
        retryAfterMs: LIMIT_RETRY_MS,
      });
    }
    const { clock, events } = this.#options;
    const connected: Connected = {
      ...{ link, software, address: link.remoteAddress, sinceWallMs: clock.wall(), facts: undefined },
      ...{ rtt: new MovingAverage(), toldSuccessions: NOTHING_TOLD, trusted: undefined },
      ...{ runs: new ControlRuns(clock, agent, (run) => link.send("run", run)) },
    };
    link.hand(this.#ownerOf(agent, connected), "server/control", `agent ${agent}, control connection`);
    link.pace(keepaliveMs, Math.max(SILENCE_MAX_MS, KEEPALIVES_SILENT_MAX * keepaliveMs));
    this.#connected.set(agent, connected);
    this.#away.delete(agent);
    this.#graces.get(agent)?.cancel();
    this.#graces.delete(agent);
    welcome();
    const fields = { agent, remote: link.remoteAddress, software };
    const level = "debug";
    events.emit({
      ...{ kind: "agent.connected", level, message: `agent ${agent} is connected`, fields },
      ...{ repeatKey: agent, byAgent: agent },
    });
    if (!this.#lost.delete(agent)) return;
    events.emit({
      ...{ kind: "agent.control-back", level: "info", fields, repeatKey: agent, byAgent: agent },
      message: `the control channel of agent ${agent} is back`,
    });
  }

  #ownerOf(agent: string, connected: Connected): LinkOwner {
    const { link, rtt, runs } = connected;
    return {
      message: (message: AnyMessage) => {
        if (message.type === "ping" && message.body.agent !== undefined) {
          connected.facts = message.body.agent;
          connected.trusted = connected.trusted === "told" ? undefined : message.body.agent.successors;
        }
        if (message.type === "runAnswer") runs.answered(message.body);
        if (message.type === "renew") void this.#options.renewals.receive(link, agent, message.body);
        if (message.type !== "goodbye") return;
        link.end();
        this.#gone(agent, link, undefined);
      },
      beat: () => link.ping(),
      drained: () => undefined,
      gone: (failure) => this.#gone(agent, link, failure?.message ?? "the connection was closed"),
      pongFacts: () => ({ server: { ...this.#options.facts(agent), ...this.#newsFor(connected) } }),
      answered: (rttMs) => rtt.add(rttMs),
    };
  }

  /** Once on each connection, and again when there are others. */
  #newsFor(connected: Connected): Pick<ServerFacts, "successors"> {
    const successions = this.#options.successions();
    if (connected.toldSuccessions === successions) return {};
    connected.toldSuccessions = successions;
    connected.trusted = "told";
    return successions.length === 0 ? {} : { successors: [...successions] };
  }

  /** `reason`: undefined when the agent said goodbye. */
  #gone(agent: string, link: Link, reason: string | undefined): void {
    const connected = this.#connected.get(agent);
    if (connected?.link !== link) return;
    const { clock, events } = this.#options;
    connected.runs.fail(new Failure("E_DISCONNECTED", `agent ${agent} is gone: ${reason ?? "it said goodbye"}`));
    this.#connected.delete(agent);
    const { software, address, facts } = connected;
    this.#away.set(agent, { software, address, facts, sinceWallMs: clock.wall(), rtt: undefined });
    for (const oldest of this.#away.keys()) {
      if (this.#away.size <= KNOWN_AGENTS_MAX) break;
      this.#away.delete(oldest);
      this.#graces.get(oldest)?.cancel();
      this.#graces.delete(oldest);
      this.#lost.delete(oldest);
    }
    if (reason !== undefined) this.#await(agent);
    events.emit({
      ...{ kind: "agent.disconnected", level: "debug", repeatKey: agent, byAgent: agent },
      message: `agent ${agent} is no longer connected: ${reason ?? "it said goodbye"}`,
      fields: { agent, remote: address, reason: reason ?? "goodbye" },
    });
  }

  /** An event when it stays away for the grace period while a session of it runs, also one that begins later. */
  #await(agent: string): void {
    const { clock, events, hasSession, lostGraceMs } = this.#options;
    const look = (): void => {
      if (!hasSession(agent)) {
        this.#graces.set(agent, clock.after(lostGraceMs(), look));
        return;
      }
      this.#graces.delete(agent);
      this.#lost.add(agent);
      events.emit({
        ...{ kind: "agent.control-lost", level: "warn", repeatKey: agent, byAgent: agent },
        message: `agent ${agent} has a session but no control channel any more; the session goes on`,
        fields: { agent, graceMs: lostGraceMs() },
      });
    };
    this.#graces.set(agent, clock.after(lostGraceMs(), look));
  }
}

function standingOf({ toldSuccessions, trusted }: Connected, successions: readonly Succession[]): AgentView["newCa"] {
  if (successions.length === 0) return undefined;
  // Not told yet, has not answered since, or is of before this was asked.
  if (toldSuccessions !== successions || trusted === undefined || trusted === "told") return "unknown";
  // With the newest it needs none of those before.
  return trusted >= successions.length ? "trusted" : "missing";
}

function busy(agent: string): Failure {
  return new Failure("E_BUSY", `another control connection of agent ${agent} lives`, {
    hint: "If this machine has only one daemon, look for another machine with the same certificate.",
    retryAfterMs: BUSY_RETRY_MS,
  });
}

/** What happens to processes and machines: killed, without power, stopped, standing still, twice at once, with a wrong clock. */
import { uuid } from "#base/random.ts";
import type { MemorySource } from "#test/support/memory-source.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import type { AgentHost, AgentRun } from "./agent-host.ts";
import type { Chance } from "./chance.ts";
import { Countdown } from "./countdown.ts";
import type { SimNetwork } from "./network.ts";
import type { FaultName, SimOptions } from "./options.ts";
import { sendRogue } from "./rogue.ts";
import type { ServerHost } from "./server-host.ts";
import type { Trace } from "./trace.ts";
import { changeFile } from "./tree.ts";
import type { SessionFacts, Witness } from "./witness.ts";

const DAY_MS = 86_400_000;

export interface ProcessFaultOptions {
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly options: SimOptions;
  readonly witness: Witness;
  readonly network: SimNetwork;
  readonly server: ServerHost;
  readonly agents: readonly AgentHost[];
  /** Makes a second host with the certificate of an agent. */
  readonly twinOf: (agent: AgentHost) => AgentHost;
}

export class ProcessFaults {
  readonly #options: ProcessFaultOptions;
  readonly #chance: Chance;
  readonly #serverKill: Countdown;
  readonly #serverPower: Countdown;
  readonly #changes: Countdown;
  readonly #twins: AgentHost[] = [];
  readonly #rogues: (() => void)[] = [];
  #healed = false;
  #startWaits = false;

  constructor(options: ProcessFaultOptions) {
    this.#options = options;
    this.#chance = options.chance;
    const { faults } = options.options;
    this.#serverKill = new Countdown(options.chance.fork("server kill"), faults.serverKillCalls);
    this.#serverPower = new Countdown(options.chance.fork("server power"), faults.serverPowerCalls);
    this.#changes = new Countdown(options.chance.fork("changes"), faults.changingFiles);
  }

  /** All that stands still goes on, all that is down comes up, and nobody is there twice. */
  heal(): void {
    this.#healed = true;
    for (const end of this.#rogues) end();
    for (const twin of this.#twins) this.#retire(twin, 0);
    const { server, agents } = this.#options;
    server.running?.process.thaw();
    this.#startWhenStopped();
    for (const agent of agents) {
      for (const run of agent.runs) run.process.thaw();
      for (const run of agent.runs.slice(0, -1)) run.retired = true;
      if (agent.current === undefined && !agent.isDone) this.startAgent(agent);
    }
  }

  /** No second host has an agent's certificate. */
  get isAlone(): boolean {
    return this.#twins.every((twin) => twin.runs.length === 0);
  }

  /** Before a call of the server's disk: it may be the last of this process. */
  diskCall(): void {
    if (this.#healed) return;
    const { server, trace } = this.#options;
    if (this.#serverKill.hits(1)) {
      trace.count("fault serverKillCalls");
      server.kill();
    } else if (this.#serverPower.hits(1)) {
      trace.count("fault serverPowerCalls");
      // Either nothing of the unsynced is left, or what chance keeps.
      server.powerLoss(this.#chance.happens(0.5) ? this.#chance : undefined);
    } else return;
    const { process } = this.#options.server.running ?? {};
    if (process === undefined) this.#restartServer();
  }

  /** Starts a process of an agent; its end may be drawn already. */
  startAgent(agent: AgentHost): void {
    const run = agent.start();
    const { trace, options, clock } = this.#options;
    const kill = new Countdown(this.#chance.fork(`kill ${run.process.name}`), options.faults.agentKillEvents);
    const power = new Countdown(this.#chance.fork(`power ${run.process.name}`), options.faults.agentPowerEvents);
    run.process.onEvent = () => {
      if (this.#healed) return;
      const silent = power.hits(1);
      if (!silent && !kill.hits(1)) return;
      trace.count(silent ? "fault agentPowerEvents" : "fault agentKillEvents");
      agent.kill(run, silent);
      clock.after(this.#chance.scale(50, 60_000), () => {
        // Connections from before the loss of power are answered with a reset from now on.
        if (silent) this.#options.network.returned(run.process);
        if (agent.runs.length === 0 && !agent.isDone) this.startAgent(agent);
      });
    };
  }

  upgradeServer(): void {
    const { server, trace, clock } = this.#options;
    if (server.running === undefined) return;
    trace.count("fault serverUpgradeMs");
    server.stop();
    if (this.#chance.happens(0.3)) server.stop();
    clock.after(this.#chance.scale(10, 5_000), () => {
      if (!this.#healed) this.#startWhenStopped();
    });
  }

  stallServer(): void {
    this.#freeze(this.#options.server.running?.process, "serverStallMs", 30_000);
  }

  stallAgent(): void {
    const agent = this.#chance.some(this.#options.agents);
    this.#freeze(agent?.current?.process, "agentStallMs", 30_000);
  }

  /** The process stands still, another one of the same agent begins, and then the older one goes on. */
  olderRun(): void {
    const agent = this.#chance.some(this.#options.agents);
    const older = agent?.current;
    if (agent === undefined || older === undefined || !older.process.isRunning || agent.runs.length > 2) return;
    older.retired = true;
    this.#freeze(older.process, "olderRunMs", 120_000);
    this.startAgent(agent);
  }

  secondHost(): void {
    const agent = this.#chance.some(this.#options.agents);
    if (agent === undefined || this.#twins.length > 0) return;
    this.#options.trace.count("fault secondHostMs");
    const twin = this.#options.twinOf(agent);
    this.#twins.push(twin);
    twin.start();
    this.#options.clock.after(this.#chance.scale(500, 60_000), () => this.#retire(twin, 0.5));
  }

  interruptAgent(): void {
    const agent = this.#chance.some(this.#options.agents);
    const run = agent?.current;
    if (agent === undefined || run === undefined || !run.process.isRunning) return;
    this.#options.trace.count("fault agentInterruptMs");
    agent.interrupt(run);
  }

  /** A process ended by itself, and there may be work left: another one begins it soon. */
  exited(agent: AgentHost): void {
    this.#options.clock.after(this.#chance.scale(50, 20_000), () => {
      if (agent.runs.length === 0 && !agent.isDone && !this.#twins.includes(agent)) this.startAgent(agent);
    });
  }

  jumpWall(): void {
    const { trace, server, agents } = this.#options;
    trace.count("fault wallJumpMs");
    const byMs = Math.round((this.#chance.unit() * 2 - 1) * this.#chance.scale(1_000, DAY_MS));
    const process = this.#chance.happens(0.5) ? undefined : this.#chance.some(agents)?.current?.process;
    if (process === undefined) server.jumpWall(byMs);
    else process.setWallOffset(byMs);
  }

  rogue(isOwn: boolean): void {
    const { trace, witness, agents, clock, network, options } = this.#options;
    const session = this.#chance.some(liveSessions(witness, agents));
    if (session === undefined) return;
    trace.count(isOwn ? "fault duplicateJoinMs" : "fault foreignRunMs");
    const { agent, run } = session;
    const slot =
      options.parallels === 0 || this.#chance.happens(0.3) ? undefined : this.#chance.int(0, options.parallels - 1);
    const end = sendRogue({
      ...{ clock, network, witness, isOwn, slot },
      number: this.#rogues.length,
      host: agent.host,
      agent: agent.commonName,
      session: session.facts.id,
      run: isOwn ? run.run : uuid(this.#chance),
    });
    this.#rogues.push(end);
  }

  /** A file of the host is about to be read: it may change. */
  reading(source: MemorySource, path: string): void {
    if (this.#healed || !this.#changes.hits(1)) return;
    this.#options.trace.count("fault changingFiles");
    this.#options.trace.note(`${path}: ${changeFile(source, path, this.#chance)}`);
  }

  #restartServer(): void {
    const { server, clock, network } = this.#options;
    const before = network.links();
    clock.after(this.#chance.scale(10, 20_000), () => {
      // Connections from before a loss of power are answered with a reset by the machine that is back.
      for (const link of before) if (!link.server.isAlive && !link.link.over) link.link.breakEnd("client");
      // The end of the faults has brought it up, and may be over by now.
      if (!this.#healed) server.start();
    });
  }

  /** One that is asked to stop may take a while. */
  /** Once, however many wait for it: the next stop may be one that nothing is to follow. */
  #startWhenStopped(): void {
    if (this.#startWaits) return;
    const { server, clock } = this.#options;
    const look = (): void => {
      this.#startWaits = server.running?.stopping === true;
      if (this.#startWaits) clock.after(100, look);
      else server.start();
    };
    look();
  }

  #freeze(process: AgentRun["process"] | undefined, fault: FaultName, longestMs: number): void {
    if (process?.isRunning !== true) return;
    this.#options.trace.count(`fault ${fault}`);
    process.freeze();
    this.#options.clock.after(this.#chance.scale(longestMs / 100, longestMs), () => process.thaw());
  }

  #retire(twin: AgentHost, killed: number): void {
    for (const run of [...twin.runs]) {
      run.retired = true;
      if (this.#chance.happens(killed)) twin.kill(run, this.#chance.happens(0.5));
      else twin.interrupt(run);
    }
  }
}

interface LiveSession {
  readonly facts: SessionFacts;
  readonly agent: AgentHost;
  readonly run: AgentRun;
}

function liveSessions(witness: Witness, agents: readonly AgentHost[]): LiveSession[] {
  return [...witness.sessions.values()].flatMap((facts) => {
    if (facts.ended !== undefined || facts.committed) return [];
    for (const agent of agents) {
      const run = agent.runs.find(({ process }) => process === facts.client);
      if (run !== undefined) return [{ facts, agent, run }];
    }
    return [];
  });
}

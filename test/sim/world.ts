/** One run of the simulator put together: network, server, agents, witness and faults, on one clock and from one seed. */
import { must } from "#base/assert.ts";
import type { BackupResult } from "#agent/result.ts";
import type { DiskEvent } from "#test/support/memory-file.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { AgentHost, type AgentRun } from "./agent-host.ts";
import { ArchiveChecks } from "./archive-checks.ts";
import { BufferChecks } from "./buffer-checks.ts";
import { Chance } from "./chance.ts";
import { CONTROL_LOOK_MS, ControlChecks } from "./control-checks.ts";
import { ControlWishes } from "./control-wishes.ts";
import { DiskFaults } from "./disk-faults.ts";
import { NetworkFaults } from "./network-faults.ts";
import { SimNetwork } from "./network.ts";
import type { SimFaults, SimOptions } from "./options.ts";
import { ProcessFaults } from "./process-faults.ts";
import type { SimProcess } from "./process.ts";
import type { Production } from "./production.ts";
import { References } from "./references.ts";
import { BASE_DIR, type RunningServer, ServerHost } from "./server-host.ts";
import { ServerOrders } from "./server-orders.ts";
import { Spoils } from "./spoils.ts";
import { Trace } from "./trace.ts";
import { drawTree } from "./tree.ts";
import { Witness } from "./witness.ts";

/** Whether sessions go on after the server was started anew. */
const SURVIVES_RESTART = true;

/** What happens to a session that goes on. */
const STATES: ReadonlySet<string> = new Set([
  ...["session.resumed", "session.parked", "session.suspended", "session.recovered", "session.verified"],
  "admission.queued",
]);

/** What an agent says of its streams in its log. */
const SAID: ReadonlyMap<string, string> = new Map([
  ["stream rotated", "state stream.rotated"],
  ["session connection rotated", "state session.rotated"],
  ["the number of streams changes", "state streams.scaled"],
]);

const BREACHES: ReadonlySet<string> = new Set(["E_PROTOCOL", "E_FRAME_TOO_LARGE", "E_VERSION", "E_IDENTITY"]);

export class World {
  readonly clock = new SimClock();
  readonly trace: Trace;
  readonly witness: Witness;
  readonly checks: ArchiveChecks;
  readonly network: SimNetwork;
  readonly server: ServerHost;
  readonly agents: readonly AgentHost[];
  readonly #options: SimOptions;
  readonly #chance: Chance;
  readonly #spoils = new Spoils((session) => this.witness.sessions.get(session)?.production);
  readonly #references = new References();
  readonly #healing = Promise.withResolvers<void>();
  readonly #networkFaults: NetworkFaults;
  readonly #diskFaults: DiskFaults;
  readonly #processFaults: ProcessFaults;
  readonly #buffers: BufferChecks;
  readonly control: ControlChecks;
  readonly #wishes: ControlWishes;
  #healed = false;
  /** Sessions admitted by the server. */
  sessionCount = 0;

  constructor(seed: number, options: SimOptions, print: ((line: string) => void) | undefined) {
    const { clock } = this;
    this.#options = options;
    this.#chance = new Chance(seed).fork("run");
    this.trace = new Trace(clock, print);
    const shared = { clock, trace: this.trace, options, spoils: this.#spoils };
    const disk = () => this.server.disk;
    const isUnread = (session: string) => this.server.running?.storage?.unreadSince(session) !== undefined;
    this.witness = new Witness({
      ...{ clock, trace: this.trace, spoils: this.#spoils, baseDir: BASE_DIR, disk },
      shardLevels: options.assembler.mode === "lazy" ? options.assembler.shardLevels : undefined,
      survivesRestart: SURVIVES_RESTART,
      isUnread,
    });
    const { witness } = this;
    this.checks = new ArchiveChecks({
      ...{ witness, spoils: this.#spoils, baseDir: BASE_DIR, disk },
      ...{ maxBackups: options.maxBackups, isUnread },
      verifyIntegrity: options.verifyIntegrity ?? false,
      unreadable: options.faults.eioCalls !== undefined,
    });
    this.#buffers = new BufferChecks({ trace: this.trace, witness, options });
    const chance = (purpose: string): Chance => this.#chance.fork(purpose);
    const network = () => this.network;
    this.#networkFaults = new NetworkFaults({ ...shared, witness, network, chance: chance("network") });
    this.#diskFaults = new DiskFaults({ ...shared, chance: chance("disk"), server: () => this.server });
    this.network = new SimNetwork({
      clock,
      latencyMs: options.network.latencyMs,
      bytesPerSecond: options.network.bytesPerSecond,
      bufferBytes: options.network.bufferBytes,
      tap: (link) => this.#networkFaults.tap(link),
      opened: (link) => this.#networkFaults.opened(link),
    });
    this.server = this.#makeServer(chance("server"));
    this.agents = Array.from({ length: options.agents }, (_, index) => this.#makeAgent(`192.0.2.${index + 10}`, index));
    this.#processFaults = new ProcessFaults({
      ...{ ...shared, witness, network: this.network, server: this.server, agents: this.agents },
      chance: chance("processes"),
      twinOf: (agent) => this.#makeAgent("192.0.2.99", this.agents.indexOf(agent)),
    });
    const seen = { trace: this.trace, witness, server: this.server, agents: this.agents, now: () => clock.now() };
    this.control = new ControlChecks({ ...seen, calm: () => this.#healed && this.#processFaults.isAlone });
    this.#wishes = new ControlWishes({ ...seen, chance: chance("wishes") });
  }

  async begin(): Promise<void> {
    await this.server.prepare();
    this.#diskFaults.begin();
    this.server.start();
    for (const agent of this.agents) this.#processFaults.startAgent(agent);
    this.#schedule();
    if (this.#options.controlChannel === true) this.#watchControl();
  }

  /** The faults end, for good. */
  heal(): void {
    this.trace.note("heal");
    this.#healed = true;
    for (const { host } of this.agents) this.network.plug(host);
    this.#networkFaults.heal();
    this.#diskFaults.heal();
    this.#processFaults.heal();
    this.#healing.resolve();
  }

  /** Nothing is left to do before the faults end. */
  get isIdle(): boolean {
    return this.agents.every((agent) => agent.isWaiting);
  }

  /** Sessions whose files the disk may not have let go. */
  get disturbed(): ReadonlySet<string> {
    return this.#diskFaults.disturbed;
  }

  get isDone(): boolean {
    return this.agents.every((agent) => agent.isDone && agent.runs.length === 0);
  }

  #makeServer(chance: Chance): ServerHost {
    const { clock, trace, witness, checks } = this;
    return new ServerHost({
      ...{ clock, chance, network: this.network, options: this.#options },
      diskCall: (event) => this.#diskCall(event),
      event: (event) => {
        trace.note(`event ${event.kind} ${String(event.fields["code"] ?? "")}`);
        if (event.kind === "session.admitted") this.sessionCount += 1;
        if (event.kind === "session.ended") this.#ended(String(event.fields["code"]));
        if (event.kind === "session.committed") trace.count("end committed");
        if (STATES.has(event.kind)) trace.count(`state ${event.kind}`);
        if (event.kind === "admission.refused") trace.count(`refused ${String(event.fields["code"])}`);
        witness.event(event);
        const session = witness.sessions.get(String(event.fields["session"]));
        if (event.kind === "session.committed" && session !== undefined) checks.committed(session);
      },
      log: (line) => trace.note(line),
      opened: () => {
        trace.note("a storage is open");
        checks.inspect({ bytes: false, settled: true });
      },
      gone: () => {
        witness.serverGone();
        this.#diskFaults.moved();
        checks.inspect({ bytes: false, settled: false });
      },
      stopped: (running) => this.#checkStopped(running),
    });
  }

  #ended(code: string): void {
    this.trace.count(`end ${code}`);
    if (this.#isBug(code)) this.witness.broken(`a session ended with ${code}`);
  }

  /** Two right programs never say this to each other, unless a control frame was damaged on its way. */
  #isBug(code: string): boolean {
    return code === "E_INTERNAL" || (BREACHES.has(code) && this.#options.faults.flipControlFrames === undefined);
  }

  #makeAgent(host: string, index: number): AgentHost {
    const { clock, network, trace, witness } = this;
    const backups = Array.from({ length: this.#options.entries }, (_, entry) => `entry-${entry + 1}`);
    const chance = this.#chance.fork(`agent ${host}`);
    const source = drawTree(chance.fork("tree"), this.#options.tree, backups);
    source.hooks.read = (path) => this.#processFaults.reading(source, path);
    return new AgentHost({
      ...{ host, backups, source, clock, network, chance, options: this.#options },
      commonName: `agent-${index + 1}`,
      healed: this.#healing.promise,
      isHealed: () => this.#healed,
      log: (line) => trace.note(line),
      said: (message) => {
        const kind = SAID.get(message);
        if (kind !== undefined) trace.count(kind);
      },
      produces: (process, entry, production) => witness.produces(process, entry, production),
      readAgain: (process, path) => witness.broken(`${process.name} opened ${path} twice in one session`),
      result: (process, entry, result) => this.#result(source, process, entry, result),
      control: {
        told: (agent, told) => this.control.told(agent, told),
        begins: (entry) => this.#wishes.begins(entry),
        busy: (entry, busy) => this.#wishes.busy(entry, busy),
      },
      exited: (agent, run) => {
        this.#checkExit(run);
        this.#processFaults.exited(agent);
      },
    });
  }

  #result(source: AgentHostSource, process: SimProcess, entry: string, result: BackupResult): void {
    const { trace, witness } = this;
    const code = result.failure?.code ?? "committed";
    trace.count(`result ${code}`);
    if (this.#isBug(code))
      witness.broken(`${process.name}: ${String(result.failure)} ${String(result.failure?.cause)}`);
    witness.result(process, entry, result);
    const production: Production | undefined = witness.sessions.get(result.session ?? "")?.production;
    if (result.result !== "committed" || production === undefined) return;
    const backup = entry.slice(entry.indexOf("/") + 1);
    const problem =
      this.#options.faults.changingFiles === undefined
        ? this.#references.compare(source, backup, this.#options, production)
        : this.#references.examine(this.#options, production);
    if (problem !== undefined) witness.broken(`${result.archive}: ${problem}`);
  }

  #diskCall(event: DiskEvent): void | Promise<void> {
    this.trace.note(`disk ${event.call} ${event.path}`);
    this.checks.before(event);
    this.#reading(event);
    const { running } = this.server;
    if (running !== undefined) this.#buffers.server(running);
    this.#buffers.agents(this.agents);
    this.#processFaults.diskCall();
    if (this.server.running !== running) return;
    return this.#diskFaults.before(event);
  }

  /** What it reads back it must not commit when it is not what arrived. */
  #reading({ call, path, offset = 0, length = 0 }: DiskEvent): void {
    if (call !== "read") return;
    const content = this.server.disk.content(path, "now");
    if (content !== undefined && this.#spoils.read(path, content.bytes, offset, length) > 0)
      this.trace.count("state chunk.spoil-read");
  }

  #checkStopped({ process, server, disk, gaveUpDisk }: RunningServer): void {
    const { sessionCount, waitingCount, connectionCount } = must(server, "a server").view();
    const files = gaveUpDisk ? 0 : disk.openFiles;
    const left = `${sessionCount} sessions, ${waitingCount} waiting, ${connectionCount} connections, ${files} files, ${process.timerCount} timers`;
    if (/[1-9]/.test(left)) this.witness.broken(`a server that was stopped leaves ${left}`);
  }

  #checkExit({ process, sources }: AgentRun): void {
    const openCount = sources.reduce((sum, source) => sum + source.openCount, 0);
    if (openCount > 0) this.witness.broken(`${process.name} ended with ${openCount} files open`);
  }

  /** Faults that come by time: each kind again and again until the faults end. */
  #schedule(): void {
    const chance = this.#chance.fork("schedule");
    const [network, disk, processes] = [this.#networkFaults, this.#diskFaults, this.#processFaults];
    const host = (): string => (chance.some(this.agents) ?? { host: "" }).host;
    const counted = (name: keyof SimFaults, act: () => void) => () => {
      this.trace.count(`fault ${name}`);
      act();
    };
    const timed: Partial<Record<keyof SimFaults, () => void>> = {
      delayMs: () => network.delay(),
      stallMs: () => network.stall(),
      halfOpenMs: () => network.halfOpen(),
      oneWayLossMs: () => network.loseOneWay(),
      unplugMs: () => network.unplug(host()),
      staleMs: () => network.makeStale(),
      flipAllMs: () => network.doom(this.witness.running),
      duplicateJoinMs: () => processes.rogue(true),
      foreignRunMs: () => processes.rogue(false),
      secondHostMs: () => processes.secondHost(),
      olderRunMs: () => processes.olderRun(),
      serverUpgradeMs: () => processes.upgradeServer(),
      serverStallMs: () => processes.stallServer(),
      fullDiskMs: counted("fullDiskMs", () => disk.full()),
      diskStallMs: counted("diskStallMs", () => disk.stall()),
      readOnlyMs: counted("readOnlyMs", () => disk.readOnly()),
      vanishedMs: counted("vanishedMs", () => disk.vanish()),
      agentInterruptMs: () => processes.interruptAgent(),
      agentStallMs: () => processes.stallAgent(),
      wallJumpMs: () => processes.jumpWall(),
    };
    for (const [name, act] of Object.entries(timed)) {
      const meanMs = this.#options.faults[name as keyof SimFaults];
      if (meanMs !== undefined) this.#repeat(chance.fork(name), meanMs, act);
    }
    const { orderEveryMs, wishEveryMs, controlChannel } = this.#options;
    if (controlChannel === true && wishEveryMs !== undefined)
      this.#repeat(chance.fork("wishes"), wishEveryMs, () => this.#wishes.give());
    if (orderEveryMs === undefined) return;
    const orders = new ServerOrders(this.server, this.#chance.fork("orders"), this.trace);
    this.#repeat(chance.fork("orders"), orderEveryMs, () => orders.give());
  }

  #watchControl(): void {
    this.clock.after(CONTROL_LOOK_MS, () => {
      if (this.#healed && this.isDone) return;
      this.control.look();
      this.#wishes.look();
      this.#watchControl();
    });
  }

  #repeat(chance: Chance, meanMs: number, act: () => void): void {
    this.clock.after(chance.gap(meanMs), () => {
      if (this.#healed) return;
      act();
      this.#repeat(chance, meanMs, act);
    });
  }
}

type AgentHostSource = ReturnType<typeof drawTree>;

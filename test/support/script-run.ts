/** One backup run of the real agent against a scripted server, on a simulated clock. */
import { type BackupPlan, type BackupStage, runBackup } from "#agent/backup-run.ts";
import type { Producer } from "#agent/producer.ts";
import type { BackupResult } from "#agent/result.ts";
import { agentParts, agentPlan, MadeUpProducer, type PlanFields } from "./agent-world.ts";
import { type Script, ScriptServer } from "./script-server.ts";
import { SimClock } from "./sim-clock.ts";

const HOUR_MS = 3_600_000;

export interface ScriptRunOptions extends PlanFields {
  readonly script?: Script;
  readonly producer?: (clock: SimClock, attempt: number) => Producer;
  readonly plan?: (plan: BackupPlan) => BackupPlan;
}

export class ScriptRun {
  readonly clock = new SimClock();
  readonly server: ScriptServer;
  readonly stages: BackupStage[] = [];
  readonly logged: readonly string[];
  readonly producers: Producer[] = [];
  readonly #stop = new AbortController();
  readonly #result: Promise<BackupResult>;

  constructor(options: ScriptRunOptions = {}) {
    this.server = new ScriptServer(this.clock, options.script);
    const { deps, logged } = agentParts(this.clock, this.server, (attempt) => {
      const producer = options.producer?.(this.clock, attempt) ?? new MadeUpProducer(this.clock, [100, 200, 300]);
      this.producers.push(producer);
      return producer;
    });
    this.logged = logged;
    const plan = options.plan?.(agentPlan(options)) ?? agentPlan(options);
    this.#result = runBackup(deps, plan, this.#stop.signal, (stage) => void this.stages.push(stage));
  }

  interrupt(): void {
    this.#stop.abort();
  }

  advance(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  /** The run's result; and that it leaves no connection and no timer behind. */
  async result(withinMs = HOUR_MS): Promise<BackupResult> {
    const result = await this.clock.until(this.#result, withinMs);
    await this.clock.advance(60_000);
    if (this.server.open.length > 0) throw new Error(`${this.server.open.length} connections were left open`);
    if (this.clock.pendingCount > 0) throw new Error(`${this.clock.pendingCount} timers were left`);
    return result;
  }

  /** The stages but `running`, as words. */
  get words(): readonly string[] {
    return this.stages.map((stage) => {
      if (stage.stage === "queued") return `queued ${stage.position}`;
      if (stage.stage === "deferred") return `deferred ${Math.round(stage.delayMs)}`;
      if (stage.stage === "retrying") return `retrying ${stage.failure.code} in ${Math.round(stage.delayMs)}`;
      return stage.stage;
    });
  }
}

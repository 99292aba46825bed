/** The control channel of a simulated agent: the real one, in the agent's process, and what it said and tried. */
import { type AgentFacts, ControlLink, type RunVerdict } from "#agent/control-link.ts";
import { sleep } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { Chance } from "./chance.ts";
import type { SimNetwork } from "./network.ts";
import type { SimProcess } from "./process.ts";

export interface ControlHostOptions {
  readonly process: SimProcess;
  readonly run: string;
  readonly host: string;
  readonly commonName: string;
  readonly network: SimNetwork;
  readonly chance: Chance;
  readonly log: Logger;
  /** What it is at. */
  readonly backups: () => AgentFacts["backups"];
  /** It is about to say that. */
  readonly told: (backups: AgentFacts["backups"]) => void;
  readonly wish: (backup: string) => RunVerdict;
}

/** Short, so that a run of minutes has many of each. */
const SETTINGS = {
  ...{ enabled: true, keepaliveIntervalMs: 2_000, reconnectDelayMs: 500, maxReconnectDelayMs: 10_000 },
};
const LOOK_MS = 500;

export class ControlHost {
  /** When it tried to connect last. */
  triedAtMs: number;
  /** It says goodbye, and is not to come back. */
  ended = false;
  readonly #process: SimProcess;
  readonly #link: ControlLink;

  constructor(options: ControlHostOptions) {
    const { process, run, host, commonName, network, chance, log, backups, told, wish } = options;
    const { clock } = process;
    const dialer = network.dialer(process, host, commonName);
    this.#process = process;
    this.triedAtMs = clock.now();
    this.#link = new ControlLink({
      ...{ clock, random: chance, log, settings: SETTINGS, run: wish },
      deps: () => ({
        clock,
        dialer: {
          dial: (signal) => {
            this.triedAtMs = clock.now();
            return dialer.dial(signal);
          },
        },
        identity: { agent: commonName, software: "nbackup-agent 0.0.0", run },
      }),
      facts: () => {
        const now = backups();
        told(now);
        return Promise.resolve({ uptimeMs: Math.round(clock.now()), backupCount: now.length, backups: now });
      },
    });
    this.#link.start();
  }

  get isUp(): boolean {
    return this.#link.view().connectedSinceWallMs !== null;
  }

  /** Something began or ended. */
  changed(): void {
    this.#link.changed();
  }

  /** Resolves when it is up, or the process is to end. That it comes is for the checks. */
  async up(signal: AbortSignal): Promise<void> {
    while (this.#process.isAlive && !signal.aborted && !this.isUp) await sleep(this.#process.clock, LOOK_MS, signal);
  }

  stop(): void {
    this.ended = true;
    this.#link.stop();
  }
}

/** The control channel of a simulated agent: the real one, in the agent's process, and whether it is up when the faults have ended. */
import { ControlLink } from "#agent/control-link.ts";
import { sleep } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { Failure } from "#base/errors.ts";
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
  readonly backups: readonly string[];
}

/** Short, so that a run of minutes has many of each. */
const SETTINGS = {
  ...{ enabled: true, keepaliveIntervalMs: 2_000, reconnectDelayMs: 500, maxReconnectDelayMs: 10_000 },
};
const LOOK_MS = 500;

export function startControl(options: ControlHostOptions): ControlLink {
  const { process, run, host, commonName, network, chance, log, backups } = options;
  const { clock } = process;
  const link = new ControlLink({
    ...{ clock, random: chance, log, settings: SETTINGS },
    deps: () => ({
      clock,
      dialer: network.dialer(process, host, commonName),
      identity: { agent: commonName, software: "nbackup-agent 0.0.0", run },
    }),
    facts: () =>
      Promise.resolve({
        ...{ uptimeMs: Math.round(clock.now()), backupCount: backups.length },
        backups: backups.map((backup) => ({ backup, storage: "main", activity: "running" as const })),
      }),
    run: (backup) => ({ accepted: false, failure: new Failure("E_BUSY", `${backup} runs already`) }),
  });
  link.start();
  return link;
}

/** Resolves when it is up, or the process is to end. That it comes is for the time limit of the whole run. */
export async function controlUp(process: SimProcess, link: ControlLink, signal: AbortSignal): Promise<void> {
  while (process.isAlive && !signal.aborted && link.view().connectedSinceWallMs === null) {
    await sleep(process.clock, LOOK_MS, signal);
  }
}

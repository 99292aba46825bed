/** `--once` renews the agent's certificate when it is due and no daemon does that: files, connection, log. */
import { AuthorityNews } from "#agent/authority-news.ts";
import { renewWhenDue } from "#agent/once-renewal.ts";
import { settled } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { uuid } from "#base/random.ts";
import type { AgentConfig } from "#config/types.ts";
import { logEvents } from "#observe/events.ts";
import type { Identity } from "#pki/identity.ts";
import { serverDialer } from "./agent-backup.ts";
import { renewalDisk } from "./agent-identity.ts";
import { askControl } from "./control.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface RenewAfterOnce {
  readonly config: AgentConfig;
  readonly identity: Identity;
  readonly log: Logger;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  readonly signal: AbortSignal;
}

const NO_DAEMON: ReadonlySet<string> = new Set(["E_NOT_RUNNING", "E_STATE_DIR"]);
/** A daemon that runs answers at once; one that hangs is there as well. */
const DAEMON_ANSWER_MS = 2_000;

/** Never rejects. */
export async function renewAfterOnce({ config, identity, log, software, signal }: RenewAfterOnce): Promise<void> {
  const { tls, controlChannel, agent } = config;
  if (!tls.renew || !controlChannel.enabled) return;
  const events = logEvents(log);
  const disk = renewalDisk(
    () => config,
    () => identity,
  );
  const authorities = new AuthorityNews({
    ...{ clock: systemClock, events, enabled: () => true, trust: disk.trust, known: disk.known },
    use: () => false, // The next run reads the file.
  });
  await renewWhenDue({
    ...{ clock: systemClock, events, signal, current: identity },
    ...{ prepare: disk.prepare, makeRequest: disk.makeRequest, install: disk.install },
    hasDaemon: () => hasDaemon(agent.stateDir),
    successors: (successions) => void authorities.heard(successions),
    deps: {
      clock: systemClock,
      dialer: serverDialer(config, () => identity),
      identity: { agent: agent.name, software, run: uuid(systemRandom) },
    },
  });
}

async function hasDaemon(stateDir: string): Promise<boolean> {
  let runs = true;
  const asked = askControl("nbackup-agent", stateDir, { command: "status" }).then(
    () => undefined,
    (error: unknown) => {
      // A directory that this user may not look into is another user's, and so is its daemon.
      runs = !NO_DAEMON.has(toFailure(error).code);
    },
  );
  await settled(systemClock, asked, DAEMON_ANSWER_MS);
  return runs;
}

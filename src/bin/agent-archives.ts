/** The archives of this agent at its server, for the archive commands: sockets, certificates and clock are this process's. */
import { uuid } from "#base/random.ts";
import { ReadStock } from "#agent/read-stock.ts";
import { safeText } from "#base/safe-text.ts";
import type { AgentConfig } from "#config/types.ts";
import { TlsDialer } from "#net/dial.ts";
import type { Identity } from "#pki/identity.ts";
import type { ArchiveStock } from "#restore/archive-stock.ts";
import { ALPN_PROTOCOL, HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface AgentStockParts {
  readonly config: AgentConfig;
  readonly identity: Identity;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  /** The command is interrupted. */
  readonly signal: AbortSignal;
}

export function agentStock({ config, identity, software, signal }: AgentStockParts): ArchiveStock {
  const dialer = new TlsDialer({
    address: config.server,
    identity: () => identity,
    protocol: ALPN_PROTOCOL,
    timeoutMs: HELLO_TIMEOUT_MS,
    clock: systemClock,
  });
  const who = { agent: config.agent.name, software, run: uuid(systemRandom) };
  return new ReadStock({
    deps: { clock: systemClock, random: systemRandom, dialer, identity: who },
    backoff: config.retry,
    giveUpAfterMs: config.resume.giveUpAfterMs,
    signal,
    onTrouble: ({ code, message }) => {
      process.stderr.write(`warning: ${code}: ${safeText(message)}; trying again until it works\n`);
    },
  });
}

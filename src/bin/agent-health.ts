/** The health command: asks the server that the arguments name, prints what it says, and gives the exit status. */
import { uuid } from "#base/random.ts";
import { toFailure } from "#base/errors.ts";
import { askHealth } from "#agent/health.ts";
import { failureText } from "#cli/failure-text.ts";
import { healthExit, healthJson, healthText, unreachableJson } from "#cli/health-report.ts";
import { EXIT } from "#cli/exit-codes.ts";
import type { Address, AgentConfig } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import { TlsDialer } from "#net/dial.ts";
import type { Identity } from "#pki/identity.ts";
import { ALPN_PROTOCOL, HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface HealthRun {
  readonly config: AgentConfig;
  readonly identity: Identity;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  readonly server: Address;
  readonly json: boolean;
  readonly stdout: (text: string) => void;
}

export async function runHealth({ config, identity, software, server, json, stdout }: HealthRun): Promise<number> {
  const name = formatAddress(server);
  const dialer = new TlsDialer({
    address: server,
    identity: () => identity,
    protocol: ALPN_PROTOCOL,
    timeoutMs: HELLO_TIMEOUT_MS,
    clock: systemClock,
  });
  try {
    const agent = { agent: config.agent.name, software, run: uuid(systemRandom) };
    const health = await askHealth({ clock: systemClock, dialer, identity: agent });
    stdout(json ? healthJson(name, health) : healthText(name, health));
    return healthExit(health);
  } catch (error) {
    const failure = toFailure(error);
    if (json) stdout(unreachableJson(name, failure));
    process.stderr.write(failureText(failure));
    return EXIT.failed;
  }
}

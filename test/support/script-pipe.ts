/**
 * A connection in memory for scripts that talk to the server: memory-net.ts with the server's certificate left unsaid and
 * the agent's said by the test.
 */
import type { Clock } from "#base/clock.ts";
import type { Connection } from "#net/connection.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { memoryLink } from "./memory-net.ts";

export interface ScriptPipe {
  /** The agent's end. */
  readonly client: Connection;
  /** The server's end. */
  readonly server: Connection;
  /** Both ends break at once. */
  cut(): void;
  /** Nothing passes in either direction any more, and neither end is told: a pulled cable. */
  freeze(): void;
}

/** `latencyMs` and the rate one way, and how many bytes may be on their way at once. */
export interface ScriptLine {
  readonly latencyMs?: number;
  readonly bytesPerSecond?: number;
  readonly bufferBytes?: number;
}

export function scriptPipe(clock: Clock, address: string, peer: () => PeerIdentity, line: ScriptLine = {}): ScriptPipe {
  const link = memoryLink({ clock, clientAddress: address, clientIdentity: peer, ...line });
  return {
    client: link.client,
    server: link.server,
    cut: () => link.cut(),
    freeze: () => {
      link.lose("fromClient");
      link.lose("fromServer");
    },
  };
}

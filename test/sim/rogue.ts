/**
 * Somebody with an agent's certificate who asks for what belongs to a session: its place or one of its slots. With the
 * session's own run this is a duplicate that must wait for its turn, with another one it must learn nothing.
 */
import { ScriptLink } from "#test/support/script-client.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import type { SimNetwork } from "./network.ts";
import { SimProcess } from "./process.ts";
import type { Witness } from "./witness.ts";

/** It goes by itself after so long, answered or not. */
const STAYS_MS = 25_000;

export interface RogueOptions {
  readonly clock: SimClock;
  readonly network: SimNetwork;
  readonly witness: Witness;
  readonly number: number;
  readonly host: string;
  readonly agent: string;
  readonly session: string;
  readonly run: string;
  /** Undefined: it asks for the session connection's place. */
  readonly slot: number | undefined;
  /** Whether the run is the session's own. */
  readonly isOwn: boolean;
}

/** Starts it; the answer ends it. */
export function sendRogue(options: RogueOptions): () => void {
  const { clock, network, number, host, agent } = options;
  const process = new SimProcess(`rogue ${number}`, clock);
  const end = (): void => process.kill(false);
  const timer = clock.after(STAYS_MS, end);
  network
    .dialer(process, host, agent)
    .dial()
    .then(
      (connection) => act(options, new ScriptLink(connection), process),
      () => end(),
    );
  return () => {
    timer.cancel();
    end();
  };
}

async function act(options: RogueOptions, link: ScriptLink, process: SimProcess): Promise<void> {
  const { agent, run, session, slot, witness, isOwn } = options;
  const role = slot === undefined ? ("session" as const) : ("stream" as const);
  link.send("hello", {
    ...{ role, versionMin: 1, versionMax: 1, software: "rogue 0.0.0", agent, run, session },
    ...(slot === undefined ? {} : { slot }),
  });
  const answer = await link.next().catch(() => undefined);
  if (answer === undefined) process.kill(false);
  else if (answer.type !== "refused" && !isOwn)
    witness.broken(`a process of another run was answered ${answer.type} when it asked for session ${session}`);
}

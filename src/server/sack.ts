/** What a Sack says of a session but for the lost chunks. When it is sent, and where, is acknowledger.ts's part. */
import type { SessionStore } from "#store/session-store.ts";
import { SACK_RANGES_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";

type Sack = Message<"sack">;

export function sackOf(store: SessionStore, now: Pick<Sack, "boot" | "generation" | "stalled">): Omit<Sack, "lost"> {
  const files = store.acknowledgement(SACK_RANGES_MAX).map((file) => ({
    ...file,
    received: file.received.map(([first, last]): [number, number] => [first, last]),
  }));
  return { ...now, files };
}

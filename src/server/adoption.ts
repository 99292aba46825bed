/**
 * Sessions that an earlier start of the server began, taken over when their storage is opened: they were admitted then, so
 * they have their place whatever the limits say now. Those that ended with that server get the end that nobody told.
 */
import { Failure, toFailure } from "#base/errors.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { LeftSession, Storage } from "#store/storage.ts";
import { SESSION_MEMORY_BYTES } from "./limits.ts";
import { NO_TOTALS, sessionEnded } from "./session-events.ts";
import type { SessionHouse } from "./session-house.ts";
import type { SessionPlan } from "./session-types.ts";

export interface AdoptionParts {
  readonly house: SessionHouse;
  readonly events: EventSink;
  /** Which disk a base directory lies on. */
  readonly diskKey: (baseDir: string) => Promise<string>;
}

/** Takes all that the storage has left over. Never rejects. */
export async function adoptSessions(parts: AdoptionParts, storage: Storage, config: StorageConfig): Promise<void> {
  const { sessions, casualties } = storage.takeLeft();
  for (const { head, failure } of casualties) {
    parts.events.emit(sessionEnded(planOf(head, config), { kind: "ended", failure }, NO_TOTALS, 0));
  }
  for (const left of sessions) await adopt(parts, left, config);
}

async function adopt(parts: AdoptionParts, left: LeftSession, config: StorageConfig): Promise<void> {
  const { house, events } = parts;
  const plan = planOf(left.head, config);
  const diskKey = await parts.diskKey(config.baseDir).catch(() => undefined);
  // A storage that was opened late may hold what was begun anew elsewhere meanwhile.
  if (house.registry.occupant(plan.agent, plan.backup) !== undefined) {
    const failure = new Failure("E_SUPERSEDED", `a newer session of ${plan.agent}/${plan.backup} runs already`);
    await left.discard();
    events.emit(sessionEnded(plan, { kind: "ended", failure }, NO_TOTALS, 0));
    return;
  }
  const share = house.shares.take(SESSION_MEMORY_BYTES + config.assembler.pendingMemBytesMax);
  if (diskKey !== undefined) share.promise(diskKey, plan.expectedBytes);
  const session = house.make(plan, share);
  try {
    house.registry.enter(session);
  } catch (error) {
    house.giveBack(share);
    await left.leave();
    events.emit(sessionEnded(plan, { kind: "suspended", failure: toFailure(error) }, NO_TOTALS, 0));
    return;
  }
  session.adopt(left);
}

/** What was agreed at admission, as the journal has kept it. */
function planOf(head: LeftSession["head"], config: StorageConfig): SessionPlan {
  const { session, agent, backup, run, parallels, windowBytes, chunkBytes } = head;
  const { expectedBytes, lastEntries, lastRawBytes, startWallMs } = head;
  return {
    ...{ id: session, agent, backup, run, storage: config.name, parallels, windowBytes, chunkBytes },
    ...{ expectedBytes, lastEntries, lastRawBytes, startWallMs },
    compression: { mode: head.compression, level: head.compressionLevel },
  };
}

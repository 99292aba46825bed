/**
 * Sessions that an earlier start of the server began, taken over when their storage is opened: they were admitted then, so
 * they have their place whatever the limits say now. Those that ended with that server get the end that nobody told.
 */
import { Failure, toFailure } from "#base/errors.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { LeftSession, Storage } from "#store/storage.ts";
import { assemblyBytes } from "./disk-room.ts";
import { SESSION_MEMORY_BYTES } from "./limits.ts";
import { type Occupant, superseded } from "./occupant.ts";
import { endEvents, NO_TOTALS } from "./session-events.ts";
import type { SessionHouse } from "./session-house.ts";
import type { Outcome, SessionPlan } from "./session-types.ts";

export interface AdoptionParts {
  readonly house: SessionHouse;
  readonly events: EventSink;
  /** Which disk a base directory lies on. */
  readonly diskKey: (baseDir: string) => Promise<string>;
  /** Why nothing is taken over any more, once the server is stopping: nobody would suspend it. */
  readonly stopping: () => Failure | undefined;
}

/** Takes all that the storage has left over. Never rejects. */
export async function adoptSessions(parts: AdoptionParts, storage: Storage, config: StorageConfig): Promise<void> {
  const { sessions, casualties, completed } = storage.takeLeft();
  for (const { head, answer } of completed) over(parts, planOf(head, config), { kind: "committed", answer });
  for (const { head, failure } of casualties) over(parts, planOf(head, config), { kind: "ended", failure });
  for (const left of sessions) await adopt(parts, left, config);
}

async function adopt(parts: AdoptionParts, left: LeftSession, config: StorageConfig): Promise<void> {
  const { house } = parts;
  const plan = planOf(left.head, config);
  const diskKey = await parts.diskKey(config.baseDir).catch(() => undefined);
  // Another storage may hold a session of the entry: begun while this one could not be opened, or the other way round.
  const rivalNow = (): Occupant | undefined => house.registry.occupant(plan.agent, plan.backup);
  for (let rival = rivalNow(); rival !== undefined; rival = rivalNow()) {
    if (beganEarlier(rival, plan)) {
      await rival.end(superseded(plan.agent, plan.backup));
      continue;
    }
    await left.discard();
    const failure = new Failure("E_SUPERSEDED", `a newer session of ${plan.agent}/${plan.backup} runs already`);
    over(parts, plan, { kind: "ended", failure });
    return;
  }
  const stopping = parts.stopping();
  if (stopping !== undefined) {
    await left.leave();
    over(parts, plan, { kind: "suspended", failure: stopping });
    return;
  }
  const share = house.shares.take(config.name, SESSION_MEMORY_BYTES + config.assembler.pendingMemBytesMax);
  if (diskKey !== undefined) {
    share.promise(diskKey, plan.expectedBytes + assemblyBytes(config, plan.expectedBytes));
  }
  const session = house.make(plan, share);
  try {
    house.registry.enter(session);
  } catch (error) {
    house.giveBack(share);
    await left.leave();
    over(parts, plan, { kind: "suspended", failure: toFailure(error) });
    return;
  }
  session.adopt(left);
}

/** Of two sessions of one entry the newer one goes on. Who began since this start is newer than all that was left. */
function beganEarlier({ fixed, earlierWallMs }: Occupant, { startWallMs }: SessionPlan): boolean {
  return !fixed && earlierWallMs !== undefined && earlierWallMs < startWallMs;
}

/** It ends without having run here; its agent hears how when it comes back. */
function over({ events, house }: AdoptionParts, plan: SessionPlan, outcome: Outcome): void {
  const { id, agent, run } = plan;
  for (const event of endEvents(plan, outcome, NO_TOTALS, 0)) events.emit(event);
  house.registry.remember({ id, agent, run, outcome });
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

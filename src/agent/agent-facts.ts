/** What an agent tells of itself on its control connection, from what its daemon shows and what its machine says. Pure. */
import type { AgentEntryView } from "#observe/views.ts";
import { CODE_CHARS_MAX, WORD_CHARS_MAX } from "#wire/limits.ts";
import type { AgentFacts } from "./control-link.ts";

/** What is known of the machine and of this process; what cannot be had is missing. */
export type MachineFacts = Pick<
  AgentFacts,
  "cpuPermille" | "machineCpuPermille" | "residentBytes" | "loadHundredths" | "freeBytes"
>;

/** The limit in force is worked out for people alone: of a timetable that costs more than all the rest of a keep-alive. */
export type EntryNow = Omit<AgentEntryView, "limitBytesPerSecond" | "limitUntilWallMs">;

type EntryFacts = AgentFacts["backups"][number];
type Autoscaler = NonNullable<NonNullable<AgentEntryView["running"]>["autoscaler"]>;

export function agentFacts(
  machine: MachineFacts,
  uptimeMs: number,
  entries: readonly EntryNow[],
  backupCount: number,
): Omit<AgentFacts, "rttUs" | "rttDeviationUs"> {
  const { freeBytes, ...others } = machine;
  return {
    ...others,
    // Network filesystems say that they have exbibytes.
    ...(freeBytes === undefined ? {} : { freeBytes: whole(freeBytes) }),
    ...{ uptimeMs: whole(uptimeMs), backups: entries.map(entryFacts), backupCount },
  };
}

function entryFacts({ backup, storage, activity, nextWallMs, running, last, lastCommitted }: EntryNow): EntryFacts {
  return {
    ...{ backup, storage, activity },
    ...(running === null ? {} : runningFacts(running)),
    ...(nextWallMs === null ? {} : { nextWallMs: whole(nextWallMs) }),
    ...(last === null
      ? {}
      : { lastResult: (last.code ?? last.result).slice(0, CODE_CHARS_MAX), lastWallMs: endOf(last) }),
    ...(lastCommitted === null ? {} : { lastSuccessWallMs: endOf(lastCommitted) }),
  };
}

function runningFacts(running: NonNullable<AgentEntryView["running"]>): Partial<EntryFacts> {
  const { session, stage, entries, rawBytes, storedBytes, durableBytes, rttMs, streamsUp, streams, autoscaler } =
    running;
  return {
    ...(session === null ? {} : { session }),
    phase: stage.slice(0, WORD_CHARS_MAX),
    ...{ entries, rawBytes, storedBytes, durableBytes, streamsUp, slots: streams.length },
    ...(autoscaler === null ? {} : { autoscaler: autoscalerFacts(autoscaler) }),
    ...(rttMs === null ? {} : { rttUs: whole(rttMs * 1000) }),
  };
}

function autoscalerFacts({ mode, active, max, state, producedRate, drainRate }: Autoscaler): EntryFacts["autoscaler"] {
  return {
    ...{ mode, active, max, state },
    ...(drainRate === null ? {} : { rate: whole(drainRate) }),
    ...(producedRate === null ? {} : { producedRate: whole(producedRate) }),
  };
}

function endOf({ startedWallMs, durationMs }: NonNullable<AgentEntryView["last"]>): number {
  return whole(startedWallMs + durationMs);
}

/** The wire has whole numbers from 0, and none that a double cannot tell from its neighbour. */
function whole(value: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(value)));
}

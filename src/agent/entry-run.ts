/**
 * One run of one backup entry with all that belongs to it: hooks before and after, a look at the sources, the backup itself, what
 * is remembered of it, and who is told. The same for the daemon and for `--once`.
 */
import { changedSources, type SourceFacts } from "#archive/source-facts.ts";
import { NO_SOCKETS } from "#base/chunk.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { BackupEntryConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import { type BackupDeps, type BackupPlan, type BackupStage, runBackup } from "./backup-run.ts";
import { type RunTrigger, withEnd, withStart } from "./entry-state.ts";
import { type RunCommand, runHook, STOPPING_TIMEOUT_MS } from "./hooks.ts";
import type { Notifier } from "./notify.ts";
import type { BackupResult } from "./result.ts";
import type { StateStore } from "./state-store.ts";

export interface EntryRunDeps {
  readonly backup: BackupDeps;
  /** undefined: nothing is remembered. */
  readonly states: StateStore | undefined;
  readonly runCommand: RunCommand;
  readonly notifier: Notifier;
  readonly events: EventSink;
  /** Throws or rejects with what the system says of a root that cannot be looked at. */
  readonly sourceFacts: (
    entry: BackupEntryConfig,
    signal: AbortSignal,
  ) => readonly SourceFacts[] | Promise<readonly SourceFacts[]>;
}

export interface EntryRun {
  readonly plan: BackupPlan;
  readonly trigger: RunTrigger;
  readonly signal: AbortSignal;
  readonly onStage: (stage: BackupStage) => void;
}

/** Never rejects for a fault of the environment. Who is told may still be under way: `notifier.settled`. */
export async function runEntry(deps: EntryRunDeps, run: EntryRun): Promise<BackupResult> {
  const { plan, trigger } = run;
  const { entry } = plan;
  const { clock } = deps.backup;
  const startedWallMs = clock.wall();
  const startedAtMs = clock.now();
  // Before anything happens: a crash from here on leaves a run that can be made up for.
  await deps.states?.update(entry.name, (state) => withStart(state, trigger, startedWallMs));
  const cancelled = await before(deps, run);
  let facts: readonly SourceFacts[] | undefined;
  let result: BackupResult;
  if (cancelled === undefined) {
    let told: string | undefined;
    const holdRotation = async (): Promise<string | undefined> => {
      facts = await lookAtSources(deps, entry, run.signal);
      const reason = await heldBecause(deps, entry, facts, told);
      told = reason ?? told;
      return reason;
    };
    result = await runBackup(deps.backup, { ...plan, holdRotation }, run.signal, run.onStage);
    await hookAfter(deps, run, "after", result);
  } else {
    result = cancelledResult(entry, cancelled, clock.now() - startedAtMs);
  }
  // Also when there is an archive, and it was found damaged.
  if (result.failure !== undefined) await hookAfter(deps, run, "on_failure", result);
  await deps.states?.update(entry.name, (state) => withEnd(state, trigger, startedWallMs, result, facts));
  deps.notifier.tell(entry, result);
  return result;
}

/** Why the run must not go on; undefined when it may. */
async function before(deps: EntryRunDeps, { plan, trigger, signal }: EntryRun): Promise<Failure | undefined> {
  const { identity, log } = deps.backup;
  const facts = { agent: identity.agent, entry: plan.entry, trigger, result: undefined };
  const { timeoutMs } = plan.entry.hooks;
  return await runHook({ run: deps.runCommand, log }, "before", facts, { timeoutMs, signal });
}

/** What such a hook comes to changes nothing about the run. */
async function hookAfter(
  deps: EntryRunDeps,
  { plan, trigger, signal }: EntryRun,
  name: "after" | "on_failure",
  result: BackupResult,
): Promise<void> {
  const { identity, log } = deps.backup;
  const { hooks } = plan.entry;
  const facts = { agent: identity.agent, entry: plan.entry, trigger, result };
  // After an interruption it tidies up all the same, but nobody waits for it for an hour.
  const late = lateSignal(deps.backup.clock, signal, STOPPING_TIMEOUT_MS);
  const limit = { timeoutMs: hooks.timeoutMs, signal: late.signal };
  const failure = await runHook({ run: deps.runCommand, log }, name, facts, limit);
  late.release();
  if (failure === undefined) return;
  log.warn("a hook after the run failed", { backup: plan.entry.name, code: failure.code, reason: failure.message });
}

/** Aborts `delayMs` after the given signal does, or after now when it has done so already. */
function lateSignal(
  clock: Clock,
  signal: AbortSignal,
  delayMs: number,
): { readonly signal: AbortSignal; readonly release: () => void } {
  const late = new AbortController();
  let timer: Timer | undefined;
  const begin = (): void => {
    timer = clock.after(delayMs, () => late.abort());
  };
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  const release = (): void => {
    signal.removeEventListener("abort", begin);
    timer?.cancel();
  };
  return { signal: late.signal, release };
}

async function lookAtSources(
  deps: EntryRunDeps,
  entry: BackupEntryConfig,
  signal: AbortSignal,
): Promise<readonly SourceFacts[] | undefined> {
  if (deps.states === undefined) return undefined;
  try {
    return await deps.sourceFacts(entry, signal);
  } catch (error) {
    const { code, message } = toFailure(error);
    // Else nothing would say whether these are the sources that they were.
    if (code === "E_EXHAUSTED") throw error;
    // The check of the sources that follows says it better, or it is one of those that fail no run.
    deps.backup.log.debug("the sources cannot be looked at", { backup: entry.name, code, reason: message });
    return undefined;
  }
}

/** Tells of sources that are not what they were, unless that was `told` already; what is returned keeps the server from removing older archives for this run. */
async function heldBecause(
  deps: EntryRunDeps,
  entry: BackupEntryConfig,
  facts: readonly SourceFacts[] | undefined,
  told: string | undefined,
): Promise<string | undefined> {
  const state = await deps.states?.read(entry.name);
  if (state === undefined || facts === undefined) return undefined;
  const changes = changedSources(state.sources, facts);
  if (changes.length === 0) return undefined;
  const reason = changes.join("; ");
  if (reason === told) return reason;
  deps.events.emit({
    kind: "source_changed",
    level: "warn",
    message: `${reason}; no archive is removed for this run of ${entry.name}`,
    fields: { backup: entry.name, changes },
  });
  return reason;
}

function cancelledResult(entry: BackupEntryConfig, failure: Failure, durationMs: number): BackupResult {
  return {
    ...{ backup: entry.name, storage: entry.storage, result: "failed", durationMs, failure },
    ...{ session: undefined, archive: undefined, sha256: undefined },
    ...{ entries: 0, rawBytes: 0, archiveBytes: 0, resentBytes: 0, reconnects: 0 },
    ...{ problems: [], problemCount: 0, sockets: NO_SOCKETS, removed: [], verify: "none" },
  };
}

/**
 * What an agent remembers of one backup entry from one process to the next: how far its schedule was dealt with, the run that was
 * under way, the last results, and what its sources were. Values and what changes them; where they are kept is
 * state-store.ts. A file may hold anything: what does not parse counts as nothing.
 */
import * as z from "zod/mini";
import type { SourceFacts } from "#archive/source-facts.ts";
import { safeText } from "#base/safe-text.ts";
import { pathText } from "#base/path-text.ts";
import type { CutOff, Recalled, Trigger } from "./scheduler.ts";
import type { BackupResult } from "./result.ts";

/** Raised when a reader of before could misunderstand the file. */
const VERSION = 1;
/** Names of source paths with problems that are kept; the log has more. */
const PROBLEM_NAMES_MAX = 20;
const MESSAGE_CHARACTERS_MAX = 2_000;

const count = z.number().check(z.minimum(0));
const wallMs = z.number();
const text = z.string();
const textOrNull = z.nullable(text);
const trigger = z.enum(["schedule", "missed", "cut-off", "remote", "once"]);

const runRecord = z.object({
  trigger,
  startedWallMs: wallMs,
  durationMs: count,
  result: z.enum(["committed", "failed"]),
  session: textOrNull,
  archive: textOrNull,
  sha256: textOrNull,
  entries: count,
  rawBytes: count,
  archiveBytes: count,
  resentBytes: count,
  problemCount: count,
  /** The first ones. */
  problems: z.array(z.object({ path: text, reason: text })),
  /** Of the error catalogue; null when it was committed. */
  code: textOrNull,
  message: textOrNull,
  hint: textOrNull,
});

const sourceFacts = z.object({
  path: text,
  /** Of the directory or file at the path; "missing" for an optional source that is not there. */
  kind: z.enum(["directory", "other", "missing"]),
  /** A directory without entries, a file without bytes. */
  empty: z.boolean(),
  device: text,
  /** What statfs calls the filesystem; empty when it does not say. */
  filesystem: text,
  /** Where it is mounted, its type and what is mounted there; null when nobody knows. */
  mount: z.nullable(z.object({ point: text, type: text, source: text })),
});

const entryState = z.object({
  version: z.literal(VERSION),
  backup: text,
  /** Null: it had no schedule yet. */
  schedule: z.nullable(z.object({ expression: text, handledWallMs: wallMs })),
  /** Null: none is under way. */
  running: z.nullable(z.object({ trigger, dueWallMs: z.nullable(wallMs), startedWallMs: wallMs })),
  /** A run that was stopped on purpose before its end or is yet to begin, and has not been made up for. */
  stopped: z.nullable(
    z.object({
      dueWallMs: wallMs,
      /** It has not begun. */
      waited: z.optional(z.boolean()),
    }),
  ),
  last: z.nullable(runRecord),
  lastCommitted: z.nullable(runRecord),
  /** As they were at the last run that was committed. */
  sources: z.array(sourceFacts),
});

export type EntryState = Readonly<z.infer<typeof entryState>>;
export type RunRecord = Readonly<z.infer<typeof runRecord>>;
export type RunTrigger = Trigger | { readonly kind: "once" };

export function emptyState(backup: string): EntryState {
  return {
    ...{ version: VERSION, backup, schedule: null, running: null, stopped: null, last: null, lastCommitted: null },
    sources: [],
  };
}

/** Undefined when it is not the state of that entry. */
export function parseState(value: unknown, backup: string): EntryState | undefined {
  const parsed = z.safeParse(entryState, value);
  return parsed.success && parsed.data.backup === backup ? parsed.data : undefined;
}

/** What the scheduler is told of an entry with this expression. */
export function recalled(state: EntryState, expression: string): Recalled {
  const handledMs = state.schedule?.expression === expression ? state.schedule.handledWallMs : undefined;
  return { handledMs, cutOff: cutOff(state) };
}

/**
 * The run that is to be made up for. After a crash once: if making up for it was what ran, it may have been what brought the
 * machine down. After a stop on purpose always.
 */
function cutOff({ running, stopped }: EntryState): CutOff | undefined {
  // The start of a run forgets the stopped one: beside one that ran it is the later one.
  if (stopped !== null) return { dueMs: stopped.dueWallMs, waited: stopped.waited === true };
  if (running === null || running.dueWallMs === null || running.trigger === "cut-off") return undefined;
  return { dueMs: running.dueWallMs, waited: false };
}

/** `waitingMs`: due time of a run that is yet to begin; null: of none any more; undefined: as it was. */
export function withHandled(
  state: EntryState,
  expression: string,
  handledWallMs: number,
  waitingMs?: number | null,
): EntryState {
  const handled = { ...state, schedule: { expression, handledWallMs } };
  if (waitingMs === undefined) return handled;
  return { ...handled, stopped: waitingMs === null ? null : { dueWallMs: waitingMs, waited: true } };
}

export function withStart(state: EntryState, by: RunTrigger, startedWallMs: number): EntryState {
  const dueWallMs = by.kind === "once" ? null : by.dueMs;
  return {
    ...state,
    running: { trigger: by.kind, dueWallMs, startedWallMs },
    stopped: by.kind === "once" ? state.stopped : null,
  };
}

/** `sources`: what they were, when the run is committed. */
export function withEnd(
  state: EntryState,
  by: RunTrigger,
  startedWallMs: number,
  result: BackupResult,
  sources: readonly SourceFacts[] | undefined,
): EntryState {
  const record = runRecordOf(by, startedWallMs, result);
  const committed = result.result === "committed";
  const stopped = result.failure?.code === "E_INTERRUPTED" && by.kind !== "once" ? { dueWallMs: by.dueMs } : null;
  return {
    ...state,
    running: null,
    stopped: by.kind === "once" ? state.stopped : stopped,
    last: record,
    lastCommitted: committed ? record : state.lastCommitted,
    sources: committed && sources !== undefined ? [...sources] : state.sources,
  };
}

function runRecordOf(by: RunTrigger, startedWallMs: number, result: BackupResult): RunRecord {
  const { failure } = result;
  const shortened = (whole: string): string => safeText(whole).slice(0, MESSAGE_CHARACTERS_MAX);
  return {
    trigger: by.kind,
    startedWallMs: Math.floor(startedWallMs),
    durationMs: Math.round(result.durationMs),
    result: result.result,
    session: result.session ?? null,
    archive: result.archive ?? null,
    sha256: result.sha256 ?? null,
    entries: result.entries,
    rawBytes: result.rawBytes,
    archiveBytes: result.archiveBytes,
    resentBytes: result.resentBytes,
    problemCount: result.problemCount,
    problems: result.problems.slice(0, PROBLEM_NAMES_MAX).map(({ path, reason }) => ({ path: pathText(path), reason })),
    code: failure?.code ?? null,
    message: failure === undefined ? null : shortened(failure.message),
    hint: failure === undefined ? null : shortened(failure.hint),
  };
}

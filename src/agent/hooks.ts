/**
 * The commands that a backup entry has around its runs: what they are told, how long they may take, what of their output is
 * logged, and what their end means. How a process is made and ended is passed in.
 */
import { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { safeText } from "#base/safe-text.ts";
import { formatDuration } from "#base/units.ts";
import type { BackupEntryConfig } from "#config/types.ts";
import type { RunTrigger } from "./entry-state.ts";
import type { BackupResult } from "./result.ts";

export type HookName = "before" | "after" | "on_failure";

export interface HookCommand {
  /** For /bin/sh. */
  readonly command: string;
  /** Added to the environment of the agent. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Ends it and all that it started. */
  readonly signal: AbortSignal;
  /** Each line of its output, without end; of very long ones the beginning. */
  readonly line: (line: string) => void;
}

export type HookOutcome =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "killed"; readonly signal: string }
  | { readonly kind: "timeout" }
  /** By `signal`. */
  | { readonly kind: "stopped" }
  | { readonly kind: "unstartable"; readonly reason: string };

/** Resolves when nothing of it is left; never rejects. */
export type RunCommand = (command: HookCommand) => Promise<HookOutcome>;

/** Lines of one hook in the log. A command that prints a file must not fill the disk. */
const LINES_MAX = 200;
const LINE_CHARACTERS_MAX = 1_000;
/** Of the last line, in the message of a failure. */
const SHOWN_CHARACTERS_MAX = 200;
/** Once the agent is told to end: what `after` may take to tidy up. systemd kills after 60 s. */
export const STOPPING_TIMEOUT_MS = 15_000;

export interface HookFacts {
  readonly agent: string;
  readonly entry: BackupEntryConfig;
  readonly trigger: RunTrigger;
  /** undefined: before the run. */
  readonly result: BackupResult | undefined;
}

export interface HookDeps {
  readonly run: RunCommand;
  readonly log: Logger;
}

/** Resolves with why the hook failed; undefined when it went well, or there is none. */
export async function runHook(
  deps: HookDeps,
  name: HookName,
  facts: HookFacts,
  limit: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Failure | undefined> {
  const { hooks } = facts.entry;
  const command = { before: hooks.before, after: hooks.after, on_failure: hooks.onFailure }[name];
  if (command === undefined) return undefined;
  const log = deps.log.child({ backup: facts.entry.name, hook: name });
  let lineCount = 0;
  let lastLine = "";
  const outcome = await deps.run({
    command,
    env: hookEnvironment(name, facts),
    ...limit,
    line: (line) => {
      lineCount += 1;
      if (line.trim() !== "") lastLine = line;
      if (lineCount <= LINES_MAX) log.info(safeText(line.slice(0, LINE_CHARACTERS_MAX)));
    },
  });
  if (lineCount > LINES_MAX) log.info("more output of the hook is left out", { lines: lineCount - LINES_MAX });
  if (outcome.kind === "exited" && outcome.code === 0) return undefined;
  if (outcome.kind === "stopped") return new Failure("E_INTERRUPTED", `interrupted in hooks.${name}`);
  const said = lastLine === "" ? "" : `: ${safeText(lastLine.slice(0, SHOWN_CHARACTERS_MAX))}`;
  return new Failure("E_HOOK", `hooks.${name} of ${facts.entry.name} ${outcomeText(outcome, limit.timeoutMs)}${said}`);
}

function outcomeText(outcome: Exclude<HookOutcome, { kind: "stopped" }>, timeoutMs: number): string {
  switch (outcome.kind) {
    case "exited":
      return `exited with ${outcome.code}`;
    case "killed":
      return `was ended by ${outcome.signal}`;
    case "timeout":
      return `took longer than ${formatDuration(timeoutMs)}`;
    case "unstartable":
      return `could not be started (${outcome.reason})`;
  }
}

/** What a hook is told, all of it as NBACKUP_…; facts that there are not are empty, so that `set -u` does not trip. */
function hookEnvironment(name: HookName, { agent, entry, trigger, result }: HookFacts): Record<string, string> {
  const facts = {
    HOOK: name,
    AGENT: agent,
    BACKUP: entry.name,
    STORAGE: entry.storage,
    TRIGGER: trigger.kind,
    RESULT: result?.result,
    SESSION: result?.session,
    ARCHIVE: result?.archive,
    SHA256: result?.sha256,
    ENTRIES: result?.entries,
    RAW_BYTES: result?.rawBytes,
    ARCHIVE_BYTES: result?.archiveBytes,
    PROBLEMS: result?.problemCount,
    DURATION_MS: result === undefined ? undefined : Math.round(result.durationMs),
    ERROR_CODE: result?.failure?.code,
    ERROR: result?.failure?.message,
  };
  return Object.fromEntries(
    Object.entries(facts).map(([key, value]) => [`NBACKUP_${key}`, String(value ?? "").replaceAll("\0", "")]),
  );
}

/** What check-config prints. */
import type { Failure } from "#base/errors.ts";
import { ConfigFailure, type ConfigProblem } from "#config/problem.ts";
import { failureText, warningsText } from "./failure-text.ts";
import { safeText } from "#base/safe-text.ts";

export interface CheckResult {
  readonly file: string;
  readonly warnings: readonly ConfigProblem[];
  /** Why the configuration cannot be used; undefined when it can. */
  readonly failure: Failure | undefined;
}

/** Sentences for standard output. */
export function checkText(result: CheckResult): string {
  const warnings = warningsText(result.warnings);
  if (result.failure !== undefined) return `${warnings}${failureText(result.failure)}`;
  const count = result.warnings.length;
  const noted = count === 0 ? "" : `, ${count} ${count === 1 ? "warning" : "warnings"}`;
  return `${warnings}${safeText(result.file)}: can be used${noted}\n`;
}

/** One line of JSON: file, ok, problems[] and warnings[] (each with line, key, message, hint). */
export function checkJson(result: CheckResult): string {
  const problems = result.failure === undefined ? [] : problemsOf(result.failure);
  const warnings = result.warnings.map(problemJson);
  return `${JSON.stringify({ file: result.file, ok: result.failure === undefined, problems, warnings })}\n`;
}

function problemsOf(failure: Failure): unknown[] {
  if (failure instanceof ConfigFailure)
    return failure.problems.map((problem) => ({ code: failure.code, ...problemJson(problem) }));
  return [{ code: failure.code, line: null, key: "", message: failure.message, hint: failure.hint }];
}

function problemJson({ line, key, message, hint }: ConfigProblem): Record<string, unknown> {
  return { line: line ?? null, key, message, hint: hint ?? null };
}

/** Errors for people: one sentence with its code, and what to do. Stack traces go to the log, never here. */
import { Failure, toFailure } from "#base/errors.ts";
import { ConfigFailure, type ConfigProblem, problemText } from "#config/problem.ts";
import { safeText } from "#base/safe-text.ts";

/** `E_CODE: message` and `HINT: …`, each on its line; all problems of a configuration file one after another. */
export function failureText(error: unknown): string {
  const failure = toFailure(error);
  if (!(failure instanceof ConfigFailure)) return sentence(failure.code, failure.message, failure.hint);
  const sentences = failure.problems.map((problem) => sentence(failure.code, problemText(problem), problem.hint));
  if (failure.unlistedCount > 0)
    sentences.push(sentence(failure.code, `and ${failure.unlistedCount} more problems`, undefined));
  // The code's own hint says what to do after the corrections, and needs saying only once.
  return failure.problems.some(({ hint }) => hint === undefined) || failure.problems.length > 1
    ? `${sentences.join("")}HINT: ${new Failure(failure.code, "").hint}\n`
    : sentences.join("");
}

/** A failure that came as values. */
export function failureLines(failure: {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}): string {
  return sentence(failure.code, failure.message, failure.hint);
}

/** Warnings of a configuration file that is used all the same. */
export function warningsText(warnings: readonly ConfigProblem[]): string {
  return warnings.map((warning) => sentence("warning", problemText(warning), warning.hint)).join("");
}

function sentence(code: string, message: string, hint: string | undefined): string {
  return `${code}: ${safeText(message)}\n${hint === undefined ? "" : `HINT: ${safeText(hint)}\n`}`;
}

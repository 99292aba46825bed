/** What can be wrong with a configuration file, as values and as sentences. */
import { Failure } from "#base/errors.ts";

export interface ConfigProblem {
  /** As the person named it. */
  readonly file: string;
  /** From 1; undefined for problems of the file as a whole. */
  readonly line: number | undefined;
  /** `backups[0].sources[1].path`; empty for problems of the file or its syntax. */
  readonly key: string;
  /** What was found and what is allowed, in one clause. Never holds a secret. */
  readonly message: string;
  readonly hint: string | undefined;
}

/** Beyond this a file is another kind of file, and a longer list helps nobody. */
const PROBLEMS_SHOWN_MAX = 50;

/** Where looking for more ends: a hostile file must not keep the program busy. */
export const PROBLEMS_FOUND_MAX = 200;

/** E_CONFIG or E_CONFIG_READ with all problems of the file. Its message joins the sentences; for a terminal print each. */
export class ConfigFailure extends Failure {
  readonly problems: readonly ConfigProblem[];
  /** Found but left out of `problems`. */
  readonly unlistedCount: number;

  constructor(problems: readonly ConfigProblem[], code: "E_CONFIG" | "E_CONFIG_READ" = "E_CONFIG") {
    const shown = problems.slice(0, PROBLEMS_SHOWN_MAX);
    const sentences = shown.map(problemText);
    const unlistedCount = problems.length - shown.length;
    if (unlistedCount > 0) sentences.push(`and ${unlistedCount} more problems`);
    const hint = shown.length === 1 ? shown[0]?.hint : undefined;
    super(code, sentences.join("; "), hint === undefined ? {} : { hint });
    this.problems = shown;
    this.unlistedCount = unlistedCount;
  }
}

/** `agent.yaml:12: retry.max_attempts: found "many", allowed: a whole number from 1 to 1000`. */
export function problemText(problem: Omit<ConfigProblem, "hint">): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`;
  return problem.key === "" ? `${place}: ${problem.message}` : `${place}: ${problem.key}: ${problem.message}`;
}

/** In the order of the file. */
export function byLine(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
}

/** `backups[0].sources[1].path`. */
export function keyText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? String(part) : `.${String(part)}`;
  }
  return text;
}

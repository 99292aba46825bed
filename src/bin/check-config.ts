/** The check-config command of both programs: everything wrong with a configuration and its certificates, nothing started. */
import { toFailure } from "#base/errors.ts";
import { checkJson, type CheckResult, checkText } from "#cli/check-report.ts";
import { EXIT } from "#cli/exit-codes.ts";
import type { ConfigProblem } from "#config/problem.ts";
import type { Identity } from "#pki/identity.ts";

export interface ConfigCheck<C> {
  readonly load: () => { readonly config: C; readonly warnings: readonly ConfigProblem[] };
  /** Throws Failure E_CERTIFICATE or E_IDENTITY. */
  readonly identity: (config: C) => Identity;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/** Prints what is found and returns the exit status. */
export function checkConfig<C>(file: string, json: boolean, check: ConfigCheck<C>): number {
  const result = examine(file, check);
  const failed = result.failure !== undefined;
  if (json) check.stdout(checkJson(result));
  else (failed ? check.stderr : check.stdout)(checkText(result));
  return failed ? EXIT.usage : EXIT.done;
}

function examine<C>(file: string, check: ConfigCheck<C>): CheckResult {
  let warnings: readonly ConfigProblem[] = [];
  try {
    const loaded = check.load();
    warnings = loaded.warnings;
    const notes = check.identity(loaded.config).warnings.map((message) => ({
      file,
      line: undefined,
      key: "tls",
      message,
      hint: undefined,
    }));
    return { file, warnings: [...warnings, ...notes], failure: undefined };
  } catch (error) {
    const failure = toFailure(error);
    if (failure.code === "E_INTERNAL") throw error;
    return { file, warnings, failure };
  }
}

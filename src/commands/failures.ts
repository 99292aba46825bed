/** What one of several archives fails with is told, and the next one's turn comes. */
import { Failure, toFailure } from "#base/errors.ts";
import { failureText } from "#cli/failure-text.ts";
import type { Diagnostics } from "./command-context.ts";

/** Ends of the command itself, whatever it was at. */
const ENDS: ReadonlySet<string> = new Set(["E_INTERRUPTED", "E_OUTPUT_CLOSED"]);

/** The value; or, when `archive` is the name of one of several, undefined after its failure has been told with it. */
export async function attempted<T>(
  archive: string | undefined,
  stderr: Diagnostics,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const failure = toFailure(error);
    if (archive === undefined || ENDS.has(failure.code)) throw error;
    stderr.write(failureText(named(archive, failure)));
    return undefined;
  }
}

/** Some messages have the name already. */
function named(archive: string, failure: Failure): Failure {
  const { code, message, hint } = failure;
  return message.includes(archive) ? failure : new Failure(code, `${archive}: ${message}`, { hint, cause: failure });
}

/** What one of several archives fails with is told, and the next one's turn comes. */
import { toFailure } from "#base/errors.ts";
import { failureText } from "#cli/failure-text.ts";
import type { Diagnostics } from "./command-context.ts";

/** Ends of the command itself, whatever it was at. */
const ENDS: ReadonlySet<string> = new Set(["E_INTERRUPTED", "E_OUTPUT_CLOSED"]);

/** The value; or, when `oneOfMany`, undefined after its failure has been told. */
export async function attempted<T>(
  oneOfMany: boolean,
  stderr: Diagnostics,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const { code } = toFailure(error);
    if (!oneOfMany || ENDS.has(code)) throw error;
    stderr.write(failureText(error));
    return undefined;
  }
}

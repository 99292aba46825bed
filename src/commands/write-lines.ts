/** Streams of things to standard output: a batch at a time, no faster than it is read, until the user has had enough. */
import type { Batches } from "#archive/index-reader.ts";
import { Failure } from "#base/errors.ts";
import type { CommandContext } from "./command-context.ts";

/** Text that goes out in one write. */
const WRITE_CHARS = 64 * 1024;
/** The first lines are there as soon as they are known: of a large batch before all of it was looked at. */
const FIRST_WRITE_CHARS = 4 * 1024;
/** What was found does not wait longer for more. */
const WRITE_MS = 200;

/** How many there were. Rejects with E_INTERRUPTED when the signal aborts. */
export async function writeLines<T>(
  batches: Batches<T>,
  line: (item: T) => string,
  { stdout, signal, clock }: CommandContext,
): Promise<number> {
  let text = "";
  let count = 0;
  let most = FIRST_WRITE_CHARS;
  let writtenMs = Number.NEGATIVE_INFINITY;
  const write = async (): Promise<void> => {
    await stdout.write(text);
    text = "";
    most = WRITE_CHARS;
    writtenMs = clock.now();
  };
  for await (const batch of batches) {
    for (const item of batch) {
      text += line(item);
      count += 1;
      if (text.length >= most) await write();
    }
    if (text !== "" && clock.now() - writtenMs >= WRITE_MS) await write();
    if (signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted");
  }
  if (text !== "") await stdout.write(text);
  return count;
}

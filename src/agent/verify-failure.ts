/** What a verification that did not go well is for whoever waited for it. */
import { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { Message } from "#wire/messages.ts";

/** Undefined when all is well. `message` is the server's. */
export function verifyFailure(result: Message<"verified">["result"], message: string): Failure | undefined {
  if (result === "ok") return undefined;
  const why = safeText(message);
  if (result === "damaged") {
    return new Failure("E_ARCHIVE_DAMAGED", `the archive was committed, and is damaged on the server: ${why}`, {
      hint: "Check the server's disk and run the backup again; nbackup-server verify says which files are hit.",
    });
  }
  return new Failure("E_ARCHIVE_READ", `the archive was committed, and could not be verified: ${why}`, {
    hint: "The log of the server says more; it tries again by itself while the archive is there.",
  });
}

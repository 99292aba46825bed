/** A system call of a restore that failed: for one entry, or because process or machine are at their limit, which is told of no entry. */
import { errnoText } from "#archive/linux-libc.ts";
import { exhaustedBy } from "#archive/source.ts";

/** A failed call, with the errno's name in `code`. */
export class WriteError extends Error {
  readonly code: string;
  readonly errno: number;
  /** The system call that failed. */
  readonly call: string;

  constructor(errno: number, call: string) {
    super(`${call}: ${errnoText(errno)}`);
    this.name = "WriteError";
    this.errno = errno;
    this.code = errnoText(errno);
    this.call = call;
  }
}

/** Throws Failure E_EXHAUSTED for what says nothing of the entry: else a restore that leaves out thousands would look like nearly all of it. */
export function throwIfExhausted({ code, call }: WriteError): void {
  const failure = exhaustedBy(code, call, "Then run it again with --overwrite if-changed: it goes on from there.");
  if (failure !== undefined) throw failure;
}

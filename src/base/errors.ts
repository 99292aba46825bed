/**
 * Typed errors. Every failure a person or a peer may see has a stable code from the catalogue; codes cross the wire,
 * decide whether to retry and the exit status. Nobody matches on text.
 *
 * Messages are lower case without a final stop; the hint is a full sentence that says what to do.
 */
import { CATALOGUE, type ErrorCode } from "./catalogue.ts";

export interface FailureOptions {
  /** Overrides the catalogue's hint where the place knows better. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** For refusals that say when to come again. */
  readonly retryAfterMs?: number;
  /** Overrides the catalogue's say about trying again: what a peer said of its own failure. */
  readonly retry?: boolean;
}

/** An error of the catalogue. `String(failure)` is `E_CODE: message`. */
export class Failure extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly retryAfterMs: number | undefined;
  readonly #retry: boolean | undefined;

  constructor(code: ErrorCode, message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Failure";
    this.code = code;
    this.hint = options.hint ?? CATALOGUE[code].hint;
    this.retryAfterMs = options.retryAfterMs;
    this.#retry = options.retry;
  }

  /** Whether doing the same again later can help without anybody changing anything. */
  get retryable(): boolean {
    return this.#retry ?? CATALOGUE[this.code].retry;
  }

  get exitCode(): number {
    return CATALOGUE[this.code].exit;
  }

  override toString(): string {
    return `${this.code}: ${this.message}`;
  }
}

/** Any thrown value as a Failure; what is not one already becomes E_INTERNAL with the value as its cause. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("E_INTERNAL", error instanceof Error ? error.message : String(error), { cause: error });
}

/** The errno name (`ENOENT`) of an operating system error, if it is one. */
export function errnoName(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || error instanceof Failure || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** What a disk answers for bytes that it has lost, and a file system for those whose checksum it finds wrong. */
const LOST_BYTES = new Set(["EIO", "EUCLEAN", "EBADMSG", "EREMOTEIO", "EILSEQ"]);

/** The bytes are damaged, whoever reads them and when; not a disk that is gone (ESTALE, ENODEV), which says nothing of them. */
export function isLostBytes(error: unknown): boolean {
  return LOST_BYTES.has(errnoName(error) ?? "");
}

/**
 * Failures across the wire: the fields that Refused, Ended and Disown carry, and back. Codes travel, nobody matches on
 * text; a code that only a later version knows keeps its text and its say about trying again.
 */
import { isErrorCode } from "#base/catalogue.ts";
import { Failure } from "#base/errors.ts";
import { DISOWN_TEXT_CHARS_MAX, MESSAGE_TEXT_CHARS_MAX } from "./limits.ts";
import type { Message } from "./messages.ts";

/** The common part of Refused and Ended. */
export interface FailureFields {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly retry: boolean;
  readonly retryAfterMs?: number | undefined;
}

/** What to say about `failure`, cut to what a message may hold. */
export function failureFields(failure: Failure): FailureFields {
  return {
    code: failure.code,
    message: wireText(failure.message),
    hint: wireText(failure.hint),
    retry: failure.retryable,
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
  };
}

/** Why a session is given up, cut to what Disown may hold. */
export function disownFields(failure: Failure): Message<"disown"> {
  return { code: failure.code, message: wireText(failure.message, DISOWN_TEXT_CHARS_MAX) };
}

/** What the peer said, as a Failure of this side. Its say about trying again counts, not this version's catalogue. */
export function failureFromFields(fields: FailureFields): Failure {
  const options = {
    hint: fields.hint,
    retry: fields.retry,
    ...(fields.retryAfterMs === undefined ? {} : { retryAfterMs: fields.retryAfterMs }),
  };
  if (isErrorCode(fields.code)) return new Failure(fields.code, fields.message, options);
  return new Failure("E_PEER", `${fields.code}: ${fields.message}`, options);
}

/** Text that fits a message: at most `charsMax` UTF-16 units, cut with an ellipsis, no half character. */
export function wireText(text: string, charsMax: number = MESSAGE_TEXT_CHARS_MAX): string {
  const whole = text.toWellFormed();
  if (whole.length <= charsMax) return whole;
  return `${whole.slice(0, charsMax - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}

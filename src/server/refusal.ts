/** Failures as the last frames of a connection, and a peer's text as something a log can bear. */
import type { Failure } from "#base/errors.ts";
import { MESSAGE_TEXT_CHARS_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";

/** The body of `Refused`; with the session's id it is the body of `Ended`. */
export function refusalOf(failure: Failure): Message<"refused"> {
  return {
    code: failure.code,
    message: cut(failure.message),
    hint: cut(failure.hint),
    retry: failure.retryable,
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: Math.round(failure.retryAfterMs) }),
  };
}

/** Text that came from a peer, on one line and without control characters. */
export function plainText(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\u{fffd}");
}

function cut(text: string): string {
  return text.length <= MESSAGE_TEXT_CHARS_MAX ? text : `${text.slice(0, MESSAGE_TEXT_CHARS_MAX - 1)}…`;
}

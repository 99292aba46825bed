/** What every refusal owes to a person: one sentence with a code, a hint, a documented exit status, and no stack trace. */
import { expect } from "bun:test";
import type { ErrorCode } from "#base/catalogue.ts";
import type { ProcessEnd } from "#test/support/watched-process.ts";

export interface Refusal {
  readonly exit: number;
  readonly code: ErrorCode;
  /** What the sentence must name. */
  readonly says?: RegExp;
  /** What the hint must name. */
  readonly hint?: RegExp;
}

const SENTENCE = /^(E_[A-Z_]+): (.+)$/;
/** `    at main (src/bin/agent.ts:42:7)`, `Error: …` of a crash, or an excerpt of source code. */
const STACK_TRACE = /^\s+at .*:\d+|^[A-Za-z]*Error: |^\d+ \| /m;

/** Checks the end of a program against what was to be expected. */
export function expectRefusal(end: ProcessEnd, expected: Refusal): void {
  const lines = end.stderr.split("\n");
  const sentences = lines.filter((line) => SENTENCE.test(line));
  expect({ exit: end.exitCode, sentences: sentences.length, stderr: end.stderr }).toEqual({
    exit: expected.exit,
    sentences: 1,
    stderr: end.stderr,
  });
  const [sentence = ""] = sentences;
  const [, code, message] = SENTENCE.exec(sentence) ?? [];
  expect(code).toBe(expected.code);
  if (expected.says !== undefined) expect(message ?? "").toMatch(expected.says);
  // Lower case and without a final stop: it stands after a colon.
  expect(message ?? "").not.toMatch(/^[A-Z][a-z]|\.$/);
  const hint = lines[lines.indexOf(sentence) + 1] ?? "";
  expect(hint).toMatch(/^HINT: \S.*[.?]$/);
  if (expected.hint !== undefined) expect(hint).toMatch(expected.hint);
  expect(end.stderr).not.toMatch(STACK_TRACE);
  expect(end.stdout).not.toMatch(STACK_TRACE);
}

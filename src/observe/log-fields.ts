/**
 * The fields of a log line as plain JSON values: paths readable, errors told, secrets left out, everything bounded. A line can never
 * throw because of what somebody handed to it.
 */
import { Failure } from "#base/errors.ts";
import type { LogFields } from "#base/log.ts";
import { pathText } from "#base/path-text.ts";

const DEPTH_MAX = 6;
const ITEMS_MAX = 100;
const TEXT_CHARACTERS_MAX = 8192;
const PATH_BYTES_MAX = 4096;
const STACK_LINES_MAX = 20;

const HIDDEN = "[hidden]";
/** Names of fields whose values are never written, also as the end of a longer name: `adminPassword`, `enroll_token`. */
const SECRET_NAME = /(?:password|passphrase|secret|token|private_?key|access_?key|authorization|credentials?)$/i;
const SECRET_TEXT = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/** Names that a line has already. */
const RESERVED = new Set(["level", "time", "msg"]);

/** Bytes are taken for paths: write digests as hex. */
export function plainFields(fields: LogFields): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of entriesOf(fields)) {
    plain[RESERVED.has(name) ? `${name}_` : name] = plainMember(name, value, 1);
  }
  return plain;
}

function plainMember(name: string, value: unknown, depth: number): unknown {
  return SECRET_NAME.test(name) && value !== undefined && value !== null ? HIDDEN : plainValue(value, depth);
}

function plainValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case "string":
      return plainText(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "boolean":
    case "undefined":
      return value;
    case "bigint":
      return String(value);
    case "object":
      return value === null ? null : plainObject(value, depth);
    default:
      return `(${typeof value})`;
  }
}

function plainText(text: string): string {
  if (SECRET_TEXT.test(text)) return HIDDEN;
  return text.length <= TEXT_CHARACTERS_MAX
    ? text
    : `${text.slice(0, TEXT_CHARACTERS_MAX)}… (${text.length} characters)`;
}

function plainObject(value: object, depth: number): unknown {
  if (value instanceof Uint8Array) return value.length <= PATH_BYTES_MAX ? pathText(value) : `(${value.length} bytes)`;
  if (depth >= DEPTH_MAX) return "(deeper)";
  if (value instanceof Error) return plainError(value, depth);
  if (value instanceof Map)
    return plainEntries(
      [...value].map(([key, item]): [string, unknown] => [String(key), item]),
      depth,
    );
  if (value instanceof Set) return plainList([...value], depth);
  if (Array.isArray(value)) return plainList(value, depth);
  return plainEntries(entriesOf(value), depth);
}

function plainList(items: readonly unknown[], depth: number): unknown[] {
  const plain = items.slice(0, ITEMS_MAX).map((item) => plainValue(item, depth + 1));
  return items.length > ITEMS_MAX ? [...plain, `(${items.length - ITEMS_MAX} more)`] : plain;
}

function plainEntries(entries: readonly (readonly [string, unknown])[], depth: number): Record<string, unknown> {
  const kept = entries
    .slice(0, ITEMS_MAX)
    .map(([name, item]): [string, unknown] => [name, plainMember(name, item, depth + 1)]);
  if (entries.length > ITEMS_MAX) kept.push(["…", `(${entries.length - ITEMS_MAX} more)`]);
  return Object.fromEntries(kept);
}

/** A Failure explains itself; any other error is a bug, and its stack says where. */
function plainError(error: Error, depth: number): Record<string, unknown> {
  const cause = error.cause === undefined ? {} : { cause: plainValue(error.cause, depth + 1) };
  if (error instanceof Failure) return { code: error.code, message: plainText(error.message), ...cause };
  const code = "code" in error && typeof error.code === "string" ? { code: plainText(error.code) } : {};
  // As a whole, because the stack begins with the message and a key in it has several lines.
  const stack = plainText(error.stack ?? "")
    .split("\n")
    .slice(0, STACK_LINES_MAX);
  return { name: error.name, ...code, message: plainText(error.message), stack, ...cause };
}

function entriesOf(value: object): [string, unknown][] {
  try {
    return Object.entries(value);
  } catch (error) {
    return [["unreadable", String(error)]];
  }
}

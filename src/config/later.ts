/**
 * Keys that are checked but do nothing in this version, one table per file: an administrator who sets one must be told. A
 * row goes when its feature comes.
 */
import type { ConfigProblem } from "./problem.ts";
import { problemAt } from "./schema-problems.ts";
import type { YamlText } from "./yaml-text.ts";

interface LaterKey {
  /** `*` stands for any item or name. */
  readonly path: readonly string[];
  readonly message: string;
  readonly hint?: string;
  /** Keys of the section that work already. */
  readonly but?: readonly string[];
}

const NOT_YET = "has no effect yet";
const HINT = "It is checked and kept for the version that brings it.";

export const AGENT_LATER: readonly LaterKey[] = [];

export const SERVER_LATER: readonly LaterKey[] = [
  { path: ["storages", "*", "buckets"], message: NOT_YET },
  { path: ["chunk_buffer", "channel_slots"], message: "has no effect", hint: "Remove it." },
  {
    path: ["gap_detection"],
    message: "is deprecated and has no effect",
    hint: "Remove it: every acknowledgement says what is missing.",
  },
  { path: ["web_ui", "bucket_upload_file"], message: NOT_YET },
  { path: ["web_ui", "bucket_upload_max_lines"], message: NOT_YET },
];

/** One warning per row of the table whose key is set, at its first place, with the number of further ones. */
export function laterWarnings(file: string, text: YamlText, table: readonly LaterKey[]): ConfigProblem[] {
  const warnings: ConfigProblem[] = [];
  for (const row of table) {
    const places = matches(text.content, row.path).filter(({ value }) => concerns(row, value));
    const first = places[0];
    if (first === undefined) continue;
    const more = places.length - 1;
    const message =
      more === 0 ? row.message : `${row.message} (nor in ${more} other ${more === 1 ? "place" : "places"})`;
    warnings.push(problemAt(file, text, first.path, { message, hint: row.hint ?? HINT }));
  }
  return warnings;
}

function concerns({ but }: LaterKey, value: unknown): boolean {
  if (but === undefined || typeof value !== "object" || value === null) return true;
  return Object.keys(value).some((key) => !but.includes(key));
}

interface Match {
  readonly path: readonly PropertyKey[];
  readonly value: unknown;
}

/** Every place of the file that a pattern matches. */
function matches(content: unknown, pattern: readonly string[]): Match[] {
  let found: Match[] = [{ path: [], value: content }];
  for (const part of pattern) {
    found = found.flatMap(({ path, value }) =>
      children(value, part).map((child) => ({ path: [...path, ...child.path], value: child.value })),
    );
  }
  return found;
}

function children(value: unknown, part: string): Match[] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return part === "*" ? value.map((item, index) => ({ path: [index], value: item })) : [];
  const entries = Object.entries(value).filter(([key]) => part === "*" || key === part);
  return entries.map(([key, child]) => ({ path: [key], value: child }));
}

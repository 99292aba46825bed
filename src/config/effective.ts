/**
 * The configuration in effect, key by key in the order of the reference: what the file says, else the default, which is marked. Secrets are
 * left out. Made from the schemas, so that no key is missing.
 */
import { noteOf, type Schema, structureOf } from "./parts.ts";
import { memberOf } from "./rules.ts";
import { serverSchema } from "./server-schema.ts";
import type { ServerConfig } from "./types.ts";

export interface EffectiveRow {
  /** `web_ui.listen`, `storages.main.max_backups` */
  readonly key: string;
  /** As it would stand in the file; null: there is none. */
  readonly value: string | number | boolean | null | readonly string[];
  readonly isDefault: boolean;
  readonly hidden: boolean;
  readonly what: string;
}

const HIDDEN = "[hidden]";
/** The name says that the value opens something. Paths of files that hold secrets are no secrets. */
const SECRET_KEY = /(?:password|passphrase|secret|token|access_?key|secret_?key|credentials?)$/i;
/** A user and password in an address; either may hold what ends it, so all to the last @ goes. */
const SECRET_URL = /([a-z][a-z0-9+.-]*:\/\/)\S*@/gi;
/**
 * Of sections that the schema takes as they are, members whose text is shown: what such a section calls its secrets nobody can list, what it
 * calls these one can.
 */
const OPEN_KEY = /^(?:name|provider|type|endpoint|url|region|bucket|prefix|mode|storage_?class)$/i;
/** An open text that may hold a secret all the same: a user, or what a query says. */
const SECRET_MARK = /[@?=]/;
/** Rows of one answer. */
const ROWS_MAX = 5_000;

/** `content`: of the file, as it was read when `config` was made from it. */
export function effectiveServerConfig(content: unknown, config: Pick<ServerConfig, "server">): readonly EffectiveRow[] {
  const rows: EffectiveRow[] = [];
  collect(serverSchema, [], content, rows);
  // Where the default depends on the machine its words say little: this is what came of it.
  return rows.map((row) => (row.key === "server.state_dir" ? { ...row, value: config.server.stateDir } : row));
}

function collect(schema: Schema<unknown>, path: readonly string[], held: unknown, rows: EffectiveRow[]): void {
  if (rows.length >= ROWS_MAX) return;
  const structure = structureOf(schema);
  if (structure?.kind === "section" && !isShort(held)) {
    for (const [key, child] of Object.entries(structure.shape))
      collect(child, [...path, key], memberOf(held, key), rows);
    return;
  }
  if (structure?.kind === "map") {
    for (const [key, item] of entriesOf(held)) collect(structure.value, [...path, key], item, rows);
    return;
  }
  if (structure?.kind === "list" && structureOf(structure.item)?.kind === "section") {
    for (const [key, item] of entriesOf(held)) collect(structure.item, [...path, key], item, rows);
    return;
  }
  rows.push(rowOf(schema, path, held));
}

function rowOf(schema: Schema<unknown>, path: readonly string[], held: unknown): EffectiveRow {
  const note = noteOf(schema);
  const isDefault = held === undefined || held === null;
  const fallback =
    note === undefined || note.fallback === "none" || note.fallback === "required" ? null : note.fallback;
  const value = isDefault ? fallback : plain(held);
  const hidden = SECRET_KEY.test(path.at(-1) ?? "") && value !== null;
  return { key: path.join("."), value: hidden ? HIDDEN : value, isDefault, hidden, what: note?.what ?? "" };
}

/** A section that may be written as one word. */
function isShort(held: unknown): boolean {
  return typeof held === "string";
}

function plain(held: unknown): EffectiveRow["value"] {
  const open = withoutSecrets(held, 0);
  if (typeof open === "string" || typeof open === "number" || typeof open === "boolean") return open;
  if (Array.isArray(open)) return open.map((item) => (typeof item === "string" ? item : JSON.stringify(item)));
  return JSON.stringify(open);
}

/** Sections deeper than any key of ours go no further. */
const DEPTH_MAX = 8;

/** What a key of ours holds is shown; a section of which the schema knows no key may hold anything. */
function withoutSecrets(held: unknown, depth: number): unknown {
  if (typeof held === "string") return held.replace(SECRET_URL, `$1${HIDDEN}@`);
  if (Array.isArray(held)) return held.map((item: unknown) => withoutSecrets(item, depth));
  return typeof held === "object" && held !== null ? membersOf(held, depth) : held;
}

function membersOf(section: object, depth: number): unknown {
  if (depth >= DEPTH_MAX) return HIDDEN;
  const members = entriesOf(section).map(([key, item]) => [key, memberValue(key, item, depth + 1)]);
  return Object.fromEntries(members);
}

function memberValue(key: string, held: unknown, depth: number): unknown {
  if (held === null || typeof held === "boolean") return held;
  if (SECRET_KEY.test(key)) return HIDDEN;
  if (Array.isArray(held)) return held.map((item: unknown) => memberValue(key, item, depth));
  if (typeof held === "object") return membersOf(held, depth);
  return OPEN_KEY.test(key) && !SECRET_MARK.test(String(held)) ? held : HIDDEN;
}

function entriesOf(held: unknown): [string, unknown][] {
  return typeof held === "object" && held !== null ? Object.entries(held) : [];
}

/** What a schema refused, told with its place in the file: what was found, what is allowed, and what was probably meant. */
import * as z from "zod/mini";
import { nearest } from "#base/nearest.ts";
import { locate } from "./locate.ts";
import { type Schema, SECTION_ALLOWED, type Shape, type Structure, structureOf } from "./parts.ts";
import { type ConfigProblem, keyText, PROBLEMS_FOUND_MAX } from "./problem.ts";
import type { YamlText } from "./yaml-text.ts";

/** An issue of the schema library, as far as it is used. */
interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** Of unknown keys. */
  readonly keys?: readonly string[] | undefined;
  readonly params?: Readonly<Record<string, unknown>> | undefined;
}

export interface Checked<T> {
  /** undefined when there are problems. */
  readonly raw: T | undefined;
  readonly problems: readonly ConfigProblem[];
}

export function checkSchema<T>(file: string, text: YamlText, schema: Schema<T>): Checked<T> {
  const result = z.safeParse(schema, text.content);
  if (result.success) return { raw: result.data, problems: [] };
  const problems: ConfigProblem[] = [];
  const issues: readonly Issue[] = result.error.issues;
  for (const issue of issues) {
    const room = PROBLEMS_FOUND_MAX - problems.length;
    if (room <= 0) break;
    problems.push(...problemsOf(file, text, schema, issue, room));
  }
  return { raw: undefined, problems };
}

/** A problem that a rule across keys found, at the place of `path`. */
export function problemAt(
  file: string,
  text: YamlText,
  path: readonly PropertyKey[],
  problem: { readonly message: string; readonly hint?: string },
): ConfigProblem {
  const line = text.lineOf(locate(text.document, path).offset);
  return { file, line, key: keyText(path), message: problem.message, hint: problem.hint };
}

function problemsOf(
  file: string,
  text: YamlText,
  schema: Schema<unknown>,
  issue: Issue,
  countMax: number,
): ConfigProblem[] {
  if (issue.keys !== undefined) {
    return issue.keys.slice(0, countMax).map((key) => unknownKey(file, text, schema, issue.path, key));
  }
  const place = locate(text.document, issue.path);
  // What stands there is a word where a section belongs: the problem is the word, not the keys it lacks.
  const known =
    place.depth < issue.path.length && place.isValue && place.found !== "nothing"
      ? issue.path.slice(0, place.depth)
      : issue.path;
  const allowed = known === issue.path ? issue.message : (allowedAt(schema, known) ?? SECTION_ALLOWED);
  const missing = known === issue.path && place.depth < issue.path.length;
  const hint = issue.params?.["hint"];
  return [
    {
      file,
      line: text.lineOf(place.offset),
      key: keyText(known),
      message: missing ? `is missing, allowed: ${allowed}` : `found ${place.found}, allowed: ${allowed}`,
      hint: typeof hint === "string" && !missing ? hint : undefined,
    },
  ];
}

function unknownKey(
  file: string,
  text: YamlText,
  schema: Schema<unknown>,
  parent: readonly PropertyKey[],
  key: string,
): ConfigProblem {
  const path = [...parent, key];
  const shape = shapeAt(schema, parent) ?? {};
  return {
    file,
    line: text.lineOf(locate(text.document, path).offset),
    key: keyText(path),
    message: `found an unknown key, allowed: ${Object.keys(shape).join(", ")}`,
    hint: (parent.length === 0 ? otherFileHint(key) : undefined) ?? meantKey(schema, shape, key),
  };
}

const OTHER_FILE: Readonly<Record<string, string>> = {
  agent: "agent.yaml",
  backups: "agent.yaml",
  retry: "agent.yaml",
  resume: "agent.yaml",
  resources: "agent.yaml",
  daemon: "agent.yaml",
  storages: "server.yaml",
  flow_rotation: "server.yaml",
  chunk_buffer: "server.yaml",
  web_ui: "server.yaml",
};

/** For a section of the other program's file. */
function otherFileHint(key: string): string | undefined {
  const file = Object.hasOwn(OTHER_FILE, key) ? OTHER_FILE[key] : undefined;
  return file === undefined ? undefined : `${key} belongs in ${file}: check which file --config names.`;
}

/** A key that is nearly right, or right in another section. */
function meantKey(schema: Schema<unknown>, shape: Shape, key: string): string | undefined {
  const near = nearest(key, Object.keys(shape));
  if (near !== undefined) return `Did you mean ${near}?`;
  const elsewhere = placesOfKey(schema, key, "");
  return elsewhere.length === 0 ? undefined : `${key} belongs under ${elsewhere.join(" or ")}.`;
}

/** The sections that have a key of that name. */
function placesOfKey(schema: Schema<unknown>, key: string, at: string): string[] {
  const structure = structureOf(schema);
  if (structure === undefined || structure.kind === "value") return [];
  if (structure.kind === "list") return placesOfKey(structure.item, key, `${at}[]`);
  if (structure.kind === "map") return placesOfKey(structure.value, key, `${at}.<name>`);
  const here = Object.hasOwn(structure.shape, key) ? [at === "" ? "the top level" : at] : [];
  const below = Object.entries(structure.shape).flatMap(([name, child]) =>
    placesOfKey(child, key, at === "" ? name : `${at}.${name}`),
  );
  return [...here, ...below];
}

function schemaAt(schema: Schema<unknown>, path: readonly PropertyKey[]): Schema<unknown> | undefined {
  let current: Schema<unknown> | undefined = schema;
  for (const part of path) {
    const structure: Structure | undefined = current === undefined ? undefined : structureOf(current);
    if (structure === undefined || structure.kind === "value") return undefined;
    if (structure.kind === "list") current = structure.item;
    else if (structure.kind === "map") current = structure.value;
    else current = structure.shape[String(part)];
  }
  return current;
}

function shapeAt(schema: Schema<unknown>, path: readonly PropertyKey[]): Shape | undefined {
  const found = schemaAt(schema, path);
  const structure = found === undefined ? undefined : structureOf(found);
  return structure?.kind === "section" ? structure.shape : undefined;
}

function allowedAt(schema: Schema<unknown>, path: readonly PropertyKey[]): string | undefined {
  const found = schemaAt(schema, path);
  return found === undefined ? undefined : structureOf(found)?.allowed;
}

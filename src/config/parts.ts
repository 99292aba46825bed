/**
 * The parts that the schemas of both files are put together from: values, sections, lists and maps, each with what the
 * reference says about it. A refusal carries what is allowed and, where the place knows one, a hint; where in the file it
 * stands is found by problems.ts. No I/O, no rules across keys.
 */
import * as z from "zod/mini";

/** Turns what the file holds into `T`, or refuses it. */
export type Schema<T> = z.ZodMiniType<T, unknown>;
export type Shape = Readonly<Record<string, Schema<unknown>>>;
export type SectionOf<S extends Shape> = { readonly [K in keyof S]: z.output<S[K]> };

/** What a value refused by a reader should have been, when that differs from the schema's own words, and a hint. */
export class Refusal {
  readonly hint: string | undefined;
  readonly allowed: string | undefined;

  constructor(options: { readonly hint?: string | undefined; readonly allowed?: string } = {}) {
    this.hint = options.hint;
    this.allowed = options.allowed;
  }
}

export type Reader<T> = (value: unknown) => T | Refusal;

/** What a schema is made of, for the reference and for "did you mean". */
export type Structure =
  | { readonly kind: "value"; readonly allowed: string }
  | { readonly kind: "section"; readonly shape: Shape; readonly allowed: string }
  /** `orValue`: a single value may stand in its place. */
  | { readonly kind: "list"; readonly item: Schema<unknown>; readonly allowed: string; readonly orValue?: boolean }
  | { readonly kind: "map"; readonly value: Schema<unknown>; readonly allowed: string };

/** What the reference says of a key. `why` is the reason of the default. */
export interface KeyNote {
  readonly what: string;
  readonly fallback: string;
  readonly why: string | undefined;
}

const structures = new WeakMap<object, Structure>();
const notes = new WeakMap<object, KeyNote>();

export function structureOf(schema: Schema<unknown>): Structure | undefined {
  return structures.get(schema);
}

export function noteOf(schema: Schema<unknown>): KeyNote | undefined {
  return notes.get(schema);
}

/** One value. `allowed` completes "allowed: …". */
export function value<T>(allowed: string, read: Reader<T>): Schema<T> {
  const schema = z.transform<unknown, T>((input, context) => {
    const result = read(input);
    if (!(result instanceof Refusal)) return result;
    const params = { hint: result.hint };
    context.issues.push({ code: "custom", message: result.allowed ?? allowed, input, params });
    return z.NEVER;
  });
  return withStructure(schema, { kind: "value", allowed });
}

export const SECTION_ALLOWED = "a section (keys with values)";

/** A mapping with these keys and no others. An empty or missing one has all defaults. */
export function section<S extends Shape>(shape: S): Schema<SectionOf<S>> {
  const inner = z.strictObject(shape, { error: SECTION_ALLOWED });
  const schema = z.prefault(z.pipe(z.transform(emptyAsDefaults), inner), {});
  // The library's own type of the same thing marks optional keys with `?`; reading them gives undefined either way.
  const typed = schema as unknown as Schema<SectionOf<S>>;
  return withStructure(typed, { kind: "section", shape, allowed: SECTION_ALLOWED });
}

/** The same, where `short` may turn a single word into the section. */
export function sectionOr<S extends Shape>(
  shape: S,
  allowed: string,
  short: (input: unknown) => unknown,
): Schema<SectionOf<S>> {
  const schema = z.pipe(z.transform(short), section(shape));
  return withStructure(schema, { kind: "section", shape, allowed });
}

export interface CountLimits {
  readonly min: number;
  readonly max: number;
  /** Plural, for instance `backup entries`. */
  readonly things: string;
}

export function list<T>(item: Schema<T>, limits: CountLimits): Schema<readonly T[]> {
  const allowed = `a list of ${limits.min} to ${limits.max} ${limits.things}`;
  const inner = z.array(item, { error: allowed });
  const counted = inner.check(z.refine((items) => withinLimits(items.length, limits), { error: allowed }));
  // `exclude:` with every item below it commented out is an empty list, but `allow_agents:` must not come to mean "all".
  const schema: Schema<readonly T[]> =
    limits.min === 0
      ? z.pipe(
          z.transform((input: unknown) => (input === null ? [] : input)),
          counted,
        )
      : counted;
  return withStructure(schema, { kind: "list", item, allowed });
}

/** A single value or a list. */
export function valueOrList<T, I>(single: Schema<T>, many: Schema<readonly I[]>): Schema<T | readonly I[]> {
  const [one, several] = [structures.get(single), structures.get(many)];
  const allowed = `${one?.allowed ?? "a value"}, or ${several?.allowed ?? "a list"}`;
  const schema = z.transform<unknown, T | readonly I[]>((input, context) => {
    const result = Array.isArray(input) ? z.safeParse(many, input) : z.safeParse(single, input);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const message = issue.path.length === 0 ? allowed : issue.message;
      context.issues.push({ ...issue, code: "custom", input, message });
    }
    return z.NEVER;
  });
  const item = several?.kind === "list" ? several.item : many;
  return withStructure(schema, { kind: "list", item, allowed, orValue: true });
}

/** A mapping from names of the administrator's choice to values. */
export function map<T>(item: Schema<T>, limits: CountLimits): Schema<Readonly<Record<string, T>>> {
  const allowed = `a section of ${limits.min} to ${limits.max} ${limits.things}, each under its name`;
  const schema: Schema<Readonly<Record<string, T>>> = z
    .record(z.string(), item, { error: allowed })
    .check(z.refine((record) => withinLimits(Object.keys(record).length, limits), { error: allowed }));
  return withStructure(schema, { kind: "map", value: item, allowed });
}

/** A key that must be there. */
export function required<T>(schema: Schema<T>, what: string): Schema<T> {
  return withNote(schema, { what, fallback: "required", why: undefined });
}

/** A key that may be left out; `fallback` says what then happens. */
export function optional<T>(schema: Schema<T>, what: string, fallback = "none", why?: string): Schema<T | undefined> {
  return withNote(copyStructure(schema, z.optional(schema)), { what, fallback, why });
}

/** A key with a default, given as it would be written in the file. */
export function setting<T>(
  schema: Schema<T>,
  fallback: string | number | boolean | readonly string[],
  what: string,
  why?: string,
): Schema<T> {
  const text = Array.isArray(fallback) ? fallback.join(", ") || "none" : String(fallback);
  return withNote(copyStructure(schema, z.prefault(schema, fallback)), { what, fallback: text, why });
}

/** A section under a key, with a sentence that introduces it. */
export function described<T>(schema: Schema<T>, what: string): Schema<T> {
  return withNote(schema, { what, fallback: "", why: undefined });
}

/** What `schema` makes of `input`, or undefined when it refuses it. For rules that look at several keys. */
export function pick<T>(schema: Schema<T>, input: unknown): T | undefined {
  const result = z.safeParse(schema, input);
  return result.success ? result.data : undefined;
}

function withStructure<T>(schema: Schema<T>, structure: Structure): Schema<T> {
  structures.set(schema, structure);
  return schema;
}

function withNote<T>(schema: Schema<T>, note: KeyNote): Schema<T> {
  notes.set(schema, note);
  return schema;
}

function copyStructure<T>(from: Schema<unknown>, to: Schema<T>): Schema<T> {
  const structure = structures.get(from);
  return structure === undefined ? to : withStructure(to, structure);
}

/** `logging:` with every key below it commented out. */
function emptyAsDefaults(input: unknown): unknown {
  return input === null ? {} : input;
}

function withinLimits(count: number, limits: CountLimits): boolean {
  return count >= limits.min && count <= limits.max;
}

/**
 * Readers of single values: numbers, sizes, durations, words, names, addresses. Each says in one phrase what it allows; the same phrase stands
 * in the error and in the reference.
 */
import { isName, NAME_RULE } from "#base/names.ts";
import { nearest } from "#base/nearest.ts";
import { GiB, KiB, MiB, parseDuration, parseSize, TiB } from "#base/units.ts";
import { parseAddress } from "./address.ts";
import { Refusal, type Schema, value } from "./parts.ts";
import type { Address } from "./types.ts";

export const TEXT_CHARACTERS_MAX = 4096;

/** Inclusive. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

export function flag(): Schema<boolean> {
  return value("true or false", (input) => {
    if (typeof input === "boolean") return input;
    const meant =
      typeof input === "string"
        ? { yes: "true", on: "true", no: "false", off: "false" }[input.toLowerCase()]
        : undefined;
    return new Refusal({ hint: meant === undefined ? undefined : `Write ${meant}.` });
  });
}

export function integer(range: Range): Schema<number> {
  const bounds =
    range.max === Number.MAX_SAFE_INTEGER ? `of at least ${range.min}` : `from ${range.min} to ${range.max}`;
  return value(`a whole number ${bounds}`, (input) => {
    if (typeof input === "number" && Number.isSafeInteger(input)) {
      return input >= range.min && input <= range.max ? input : new Refusal();
    }
    return new Refusal({
      hint: typeof input === "string" && /^-?\d+$/.test(input) ? "Write it without quotes." : undefined,
    });
  });
}

export function decimal(range: Range): Schema<number> {
  return value(`a number from ${range.min} to ${range.max}`, (input) =>
    typeof input === "number" && input >= range.min && input <= range.max ? input : new Refusal(),
  );
}

/** Bytes. `step`: must be a multiple of it. A minimum of 0 also lets a bare 0 stand. */
export function size(range: Range & { readonly step?: number }): Schema<number> {
  const multiple = range.step === undefined ? "" : `, a multiple of ${sizeText(range.step)}`;
  return value(`a size from ${sizeText(range.min)} to ${sizeText(range.max)}${multiple}`, (input) => {
    const bytes = input === 0 ? 0 : typeof input === "string" ? parseSize(input) : undefined;
    if (bytes === undefined) return new Refusal({ hint: sizeHint(input) });
    const fits = bytes >= range.min && bytes <= range.max && bytes % (range.step ?? 1) === 0;
    return fits ? bytes : new Refusal();
  });
}

/** Milliseconds. A minimum of 0 also lets a bare 0 stand. */
export function duration(range: Range): Schema<number> {
  return value(`a duration from ${durationText(range.min)} to ${durationText(range.max)}`, (input) => {
    const ms = input === 0 ? 0 : typeof input === "string" ? parseDuration(input) : undefined;
    if (ms === undefined) return new Refusal({ hint: "Write a number with ms, s, m, h or d, for instance 30s." });
    return ms >= range.min && ms <= range.max ? ms : new Refusal();
  });
}

/** One of some words, as they are. */
export function word<const W extends string>(words: readonly W[]): Schema<W> {
  return value(orList(words), (input) => {
    const found = words.find((candidate) => candidate === input);
    if (found !== undefined) return found;
    const meant = typeof input === "string" ? nearest(input, words) : undefined;
    return new Refusal({ hint: meant === undefined ? undefined : `Did you mean ${meant}?` });
  });
}

/** Name of an agent, a backup entry or a storage. */
export function name(): Schema<string> {
  return value(`a name: ${NAME_RULE}`, (input) => {
    if (typeof input === "string" && isName(input)) return input;
    return new Refusal({ hint: typeof input === "number" ? "Put it in quotes, so that it is text." : undefined });
  });
}

/** Text that is neither empty nor longer than `charactersMax`, without NUL. */
export function text(what: string, charactersMax = TEXT_CHARACTERS_MAX): Schema<string> {
  return value(what, (input) => {
    if (typeof input !== "string") {
      return new Refusal({
        hint: input === null || typeof input === "object" ? undefined : "Put it in quotes, so that it is text.",
      });
    }
    return isPlainText(input, charactersMax) ? input : new Refusal();
  });
}

/** Path of a file or directory; a relative one counts from the directory of the configuration file. */
export function filePath(what = "a path"): Schema<string> {
  return value(what, (input) => {
    if (typeof input !== "string" || !isPlainText(input, TEXT_CHARACTERS_MAX)) return new Refusal();
    if (input.includes("-----BEGIN")) {
      return new Refusal({ hint: "Give the path of the PEM file, not what is in it." });
    }
    return input.startsWith("~") ? new Refusal({ hint: "Write the directory out: ~ means nothing here." }) : input;
  });
}

/** `HOST:PORT`, `[IPV6]:PORT`. */
export function address(example: string): Schema<Address> {
  return value(`HOST:PORT, for instance ${example}`, (input) => {
    const parsed = typeof input === "string" ? parseAddress(input) : "give host and port as one text in quotes";
    return typeof parsed === "string"
      ? new Refusal({ hint: `${parsed.charAt(0).toUpperCase()}${parsed.slice(1)}.` })
      : parsed;
  });
}

/** Free text that YAML and system calls can both hold. */
export function isPlainText(input: string, charactersMax: number): boolean {
  return input.length > 0 && input.length <= charactersMax && !input.includes("\0") && input.isWellFormed();
}

/** `a, b or c`. */
export function orList(words: readonly string[]): string {
  const last = words.at(-1) ?? "";
  return words.length < 2 ? last : `${words.slice(0, -1).join(", ")} or ${last}`;
}

const SIZE_UNITS: readonly [number, string][] = [
  [TiB, "tb"],
  [GiB, "gb"],
  [MiB, "mb"],
  [KiB, "kb"],
];
const DURATION_UNITS: readonly [number, string][] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1000, "s"],
];

/** Exactly, as it would be written in the file. */
export function sizeText(bytes: number): string {
  if (bytes === 0) return "0";
  const unit = SIZE_UNITS.find(([factor]) => bytes >= factor && bytes % factor === 0);
  return unit === undefined ? `${bytes}b` : `${bytes / unit[0]}${unit[1]}`;
}

/** Exactly, as it would be written in the file. */
export function durationText(ms: number): string {
  if (ms === 0) return "0";
  const unit = DURATION_UNITS.find(([factor]) => ms >= factor && ms % factor === 0);
  return unit === undefined ? `${ms}ms` : `${ms / unit[0]}${unit[1]}`;
}

function sizeHint(input: unknown): string {
  if (typeof input === "string" && /\/s\s*$/i.test(input)) return "Leave out the /s.";
  return "Write a number with kb, mb, gb or tb, for instance 256mb.";
}

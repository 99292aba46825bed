/** What the rules across keys have in common: how they look into a file that may be wrong anywhere, and how they report. */
import * as z from "zod/mini";

export interface RuleOptions {
  readonly hint?: string;
  /** The configuration is used all the same. */
  readonly warning?: boolean;
}

export type RuleReport = (path: readonly PropertyKey[], message: string, options?: RuleOptions) => void;

/** As many as the schemas allow of entries and of storages: rules compare them with each other. */
const ITEMS_MAX = 1000;
const anyList = z.array(z.unknown());
const anyMap = z.record(z.string(), z.unknown());

/** The items of the list under a key; none when there is no list. */
export function itemsAt(content: unknown, key: string): readonly unknown[] {
  const result = z.safeParse(anyList, memberOf(content, key));
  return result.success ? result.data.slice(0, ITEMS_MAX) : [];
}

/** The entries of the section under a key; none when there is no section. */
export function entriesAt(content: unknown, key: string): readonly (readonly [string, unknown])[] {
  const result = z.safeParse(anyMap, memberOf(content, key));
  return result.success ? Object.entries(result.data).slice(0, ITEMS_MAX) : [];
}

/** The value under a key, whatever it is; undefined when there is none. */
export function memberOf(content: unknown, key: string): unknown {
  const result = z.safeParse(anyMap, content);
  return result.success ? result.data[key] : undefined;
}

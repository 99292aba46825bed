/** Which entries `--once` runs. */
import type { Failure } from "#base/errors.ts";
import { nearest } from "#base/nearest.ts";
import type { BackupEntryConfig } from "#config/types.ts";
import { usage } from "./parse.ts";

/** All entries, or the one that is named. Throws Failure E_USAGE when there is none of that name. */
export function selectBackups(
  entries: readonly BackupEntryConfig[],
  name: string | undefined,
): readonly BackupEntryConfig[] {
  if (name === undefined) return entries;
  const found = entries.find((entry) => entry.name === name);
  if (found === undefined) throw unknownEntry(entries, name);
  return [found];
}

const NAMES_SHOWN_MAX = 20;

function unknownEntry(entries: readonly BackupEntryConfig[], name: string): Failure {
  const names = entries.map((entry) => entry.name);
  const meant = nearest(name, names);
  const shown = names.slice(0, NAMES_SHOWN_MAX).join(", ");
  const more = names.length > NAMES_SHOWN_MAX ? " …" : "";
  const hint = meant === undefined ? `The configuration has ${shown}${more}.` : `Did you mean ${meant}?`;
  return usage(`no backup entry is named ${name}`, hint);
}

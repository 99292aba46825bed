/**
 * What `--delete` may remove, found out before a restore: only what the backup would have seen, so that its not being in the archive says that it was not there. The
 * index that was made with the archive has what was ordered; one that was made from the archive afterwards has not, and nothing may be
 * deleted by it. Nor by a backup that could not look at everything: nothing tells what it missed from what was not there.
 */
import { lstat } from "node:fs/promises";
import { equalBytes } from "#archive/bytes.ts";
import type { IndexEntry, IndexHeader } from "#archive/index-format.ts";
import { indexPath } from "#archive/index-path.ts";
import { entriesBelow, findPath, liesBelow } from "#archive/index-queries.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import { CACHE_TAG } from "#archive/walk-rules.ts";
import { errnoName, Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import type { DeletionRules } from "./deletion-policy.ts";
import type { JobPlan } from "./index-plan.ts";
import { mustBeIndexDamage } from "./index-trust.ts";
import { nameStart } from "./safe-path.ts";
import { Selection } from "./selection.ts";

/** More than this are no mount points. */
const MOUNT_POINTS_MAX = 10_000;

/** What the commit record says of how the backup went. */
export interface BackupRecord {
  /** How many paths it could not take as they were; undefined: there is no record. */
  readonly problems: number | undefined;
  /** Where it could not read, if all of that is known. */
  readonly unread?: readonly Uint8Array[] | undefined;
}

/**
 * For the job that `plan` is for, its paths, and the directory that it restores into.
 * Throws Failure E_USAGE, which says why nothing may be deleted.
 */
export async function deletionRules(
  plan: JobPlan,
  paths: readonly Uint8Array[],
  { problems, unread }: BackupRecord,
  target: string,
): Promise<DeletionRules> {
  const { index, trust } = plan;
  if (trust.fault !== undefined) throw refusal(`the index of the archive cannot be believed (${trust.fault.message})`);
  if (index === undefined) throw refusal("the archive has no index");
  if (index.header.rebuilt) throw refusal("the index of the archive was made again from the archive itself");
  const { exclude, oneFileSystem, excludeCaches, excludeIfPresent } = index.header;
  const { sources } = index.header;
  const incomplete = [sources, exclude, oneFileSystem, excludeCaches, excludeIfPresent].includes(undefined);
  if (incomplete || !index.totals.sorted) throw refusal("the index of the archive does not say what was backed up");
  if (unread === undefined) checkSawAll(problems, index.totals.changed);
  const unreadPaths = (unread ?? []).map(indexPath);
  await mustAllBeThere(target, unreadPaths);
  const sourcePaths = sourcesOf(index.header);
  const names = (excludeIfPresent ?? []).map((name) => Buffer.from(name));
  return {
    sources: sourcePaths,
    exclude: exclude ?? [],
    marks: excludeCaches === true ? [...names, CACHE_TAG] : names,
    oneFileSystem: oneFileSystem === true,
    unread: unreadPaths,
    mountPoints: await believed(() => mountPointsBelow(index, new Selection(paths), sourcePaths)),
  };
}

/**
 * Each entry with the flag `changed` (those with `short` are among them) is one problem of a path that is in the archive. Any other may
 * be a file that could not be opened, or a directory that was not listed to its end.
 */
function checkSawAll(problems: number | undefined, changed: number): void {
  if (problems === undefined) throw refusal("nothing says whether the backup could read everything");
  if (problems <= changed) return;
  const count = problems - changed;
  throw new Failure(
    "E_USAGE",
    `--delete: the backup could not take ${count} ${count === 1 ? "path" : "paths"} as it should, so what the archive does not have may have been there`,
    {
      hint: "Restore without --delete, and remove by hand what should not be there. The log of the backup names the paths.",
    },
  );
}

/** What no archive has is spared under the name that it had then: gone from there, it may have another, also below other paths than these. */
async function mustAllBeThere(target: string, unread: readonly Uint8Array[]): Promise<void> {
  for (const path of unread) {
    const missing = await lstat(Buffer.concat([Buffer.from(`${target}/`), path])).then(
      () => undefined,
      (error: unknown) => errnoName(error) ?? String(error),
    );
    if (missing === undefined) continue;
    const place = pathText(Buffer.concat([Buffer.from(target === "/" ? "/" : `${target}/`), path]));
    throw new Failure(
      "E_USAGE",
      `--delete: the backup could not read ${place}, and nothing is there now (${missing}): it may have another name, and is in no archive`,
      {
        hint: "Restore without --delete, and remove by hand what should not be there. The log of the backup names the paths that it could not read.",
      },
    );
  }
}

function refusal(why: string): Failure {
  return new Failure("E_USAGE", `--delete: ${why}, so nobody knows what the backup left out`, {
    hint: "Restore without --delete, and remove by hand what should not be there. An index that was made with the archive would tell.",
  });
}

async function believed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw refusal(`the index of the archive cannot be believed (${mustBeIndexDamage(error).message})`);
  }
}

function sourcesOf({ sources }: IndexHeader): readonly Uint8Array[] {
  return (sources ?? []).map((source) => Buffer.from(source.replace(/^\/+|\/+$/g, "")));
}

async function mountPointsBelow(
  index: IndexReader,
  selection: Selection,
  sources: readonly Uint8Array[],
): Promise<readonly Uint8Array[]> {
  const points = new MountPoints(sources);
  for (const path of selection.isAll ? [new Uint8Array(0)] : selection.paths) {
    const parent = await findPath(index, path.subarray(0, Math.max(0, nameStart(path) - 1)));
    if (parent !== undefined) points.add(parent);
    for await (const batch of entriesBelow(index, path)) for (const entry of batch) points.add(entry);
    points.end();
  }
  return points.found;
}

/** Finds them among entries in the order of the archive. */
class MountPoints {
  readonly #sources: readonly Uint8Array[];
  readonly #above: IndexEntry[] = [];
  /** The entry before, if it is one, and nothing below it has come. */
  #candidate: IndexEntry | undefined;
  readonly found: Uint8Array[] = [];

  constructor(sources: readonly Uint8Array[]) {
    this.#sources = sources;
  }

  add(entry: IndexEntry): void {
    if (this.#candidate !== undefined && !liesBelow(this.#candidate.path, entry.path)) this.#find(this.#candidate);
    this.#candidate = undefined;
    if (entry.type !== "directory") return;
    while (this.#above.length > 0 && !liesBelow(this.#above.at(-1)?.path ?? entry.path, entry.path)) this.#above.pop();
    const parent = this.#above.at(-1);
    this.#above.push(entry);
    const isOther = parent !== undefined && parent.live?.dev !== entry.live?.dev;
    if (isOther && !this.#sources.some((source) => equalBytes(source, entry.path))) this.#candidate = entry;
  }

  /** Nothing follows the last entry. */
  end(): void {
    if (this.#candidate !== undefined) this.#find(this.#candidate);
    this.#candidate = undefined;
    this.#above.length = 0;
  }

  #find({ path }: IndexEntry): void {
    if (this.found.length === MOUNT_POINTS_MAX) throw refusal("the archive has too many mount points");
    this.found.push(path);
  }
}

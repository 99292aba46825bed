/**
 * What `--delete` may remove: only what the backup would have seen, so that its not being in the archive says that it was not there. The
 * index that was made with the archive has what was ordered; one that was made from the archive afterwards has not, and nothing may be
 * deleted by it.
 */
import { equalBytes, SLASH } from "#archive/bytes.ts";
import { Excludes } from "#archive/exclude.ts";
import type { IndexEntry, IndexHeader } from "#archive/index-format.ts";
import { entriesBelow, findPath, liesBelow } from "#archive/index-queries.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import { CACHE_TAG } from "#archive/walk-rules.ts";
import { Failure } from "#base/errors.ts";
import type { JobPlan } from "./index-plan.ts";
import { mustBeIndexDamage } from "./index-trust.ts";
import { nameStart } from "./safe-path.ts";
import { Selection } from "./selection.ts";

/** Plain values, to be posted to a thread. Paths are those of entries. */
export interface DeletionRules {
  readonly sources: readonly Uint8Array[];
  readonly exclude: readonly string[];
  /** Names that keep a backup from going into the directory that has one of them. */
  readonly marks: readonly Uint8Array[];
  readonly oneFileSystem: boolean;
  /** Directories of another filesystem than the one above them, of which the archive has nothing but themselves. */
  readonly mountPoints: readonly Uint8Array[];
  /** A directory that is empty in the archive was empty. Else the backup may not have been able to list it. */
  readonly emptyIsEmpty: boolean;
}

/** More than this are no mount points. */
const MOUNT_POINTS_MAX = 10_000;

/**
 * For the job that `plan` is for, and its paths. `problems`: how many paths the backup could not take as they were, from its commit record.
 * Throws Failure E_USAGE, which says why nothing may be deleted.
 */
export async function deletionRules(
  plan: JobPlan,
  paths: readonly Uint8Array[],
  problems: number | undefined,
): Promise<DeletionRules> {
  const { index, trust } = plan;
  if (trust.fault !== undefined) throw refusal(`the index of the archive cannot be believed (${trust.fault.message})`);
  if (index === undefined) throw refusal("the archive has no index");
  if (index.header.rebuilt) throw refusal("the index of the archive was made again from the archive itself");
  const { exclude, oneFileSystem, excludeCaches, excludeIfPresent } = index.header;
  const { sources } = index.header;
  const incomplete = [sources, exclude, oneFileSystem, excludeCaches, excludeIfPresent].includes(undefined);
  if (incomplete || !index.totals.sorted) throw refusal("the index of the archive does not say what was backed up");
  const sourcePaths = sourcesOf(index.header);
  const names = (excludeIfPresent ?? []).map((name) => Buffer.from(name));
  return {
    sources: sourcePaths,
    exclude: exclude ?? [],
    marks: excludeCaches === true ? [...names, CACHE_TAG] : names,
    oneFileSystem: oneFileSystem === true,
    mountPoints: await believed(() => mountPointsBelow(index, new Selection(paths), sourcePaths)),
    emptyIsEmpty: problems !== undefined && problems <= index.totals.changed,
  };
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

/** A directory that was restored, and could be cleared of what the archive does not have in it. */
export interface RestoredDirectory {
  /** In the archive. */
  readonly path: Uint8Array;
  /** At the target it is of another filesystem than the directory above it. */
  readonly isMounted: boolean;
  /** The archive has nothing in it. */
  readonly isEmpty: boolean;
}

/** The rules, as who deletes asks for them. */
export class Deletion {
  readonly #rules: DeletionRules;
  readonly #excludes: Excludes;
  readonly #mountPoints: ReadonlySet<string>;

  constructor(rules: DeletionRules) {
    this.#rules = rules;
    this.#excludes = new Excludes(rules.exclude);
    this.#mountPoints = new Set(rules.mountPoints.map(keyOf));
  }

  /** Whether something at this path, which the archive does not have, may go. */
  mayDelete(path: Uint8Array): boolean {
    const absolute = new Uint8Array(path.length + 1);
    absolute[0] = SLASH;
    absolute.set(path, 1);
    return this.#excludes.match(absolute, nameStart(path) + 1, absolute.length) === "no";
  }

  mayClear({ path, isMounted, isEmpty }: RestoredDirectory): boolean {
    if (isEmpty && !this.#rules.emptyIsEmpty) return false;
    if (this.isSource(path)) return true;
    return !(isMounted && this.#rules.oneFileSystem) && !this.#mountPoints.has(keyOf(path));
  }

  /** A directory that is a source is gone into whatever it holds. */
  isSource(path: Uint8Array): boolean {
    return this.#rules.sources.some((source) => equalBytes(source, path));
  }

  get marks(): readonly Uint8Array[] {
    return this.#rules.marks;
  }
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString("latin1");
}

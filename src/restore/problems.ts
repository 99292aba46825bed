/** What could not be restored as the archive has it, by name. Counted always, listed up to a limit. */

export type RestoreReason =
  /** The name leads out of the target. */
  | "outside"
  /** The call that failed is in `errno`; there is no such thing at the target. */
  | "not-created"
  /** Something that is no directory, or a symbolic link, stands where a directory is needed. */
  | "blocked"
  /** A directory with something in it stands where a file is to be. */
  | "directory-in-the-way"
  | "device-needs-root"
  /** A kind of entry that only the program that wrote the archive knows. */
  | "unsupported"
  /** The content of a hard link is not in the archive, or did not come. */
  | "link-without-target"
  /** Written, but owner, mode, attributes, access control list or time are not as they should be. */
  | "owner"
  | "mode"
  | "attributes"
  | "acl"
  | "time"
  /** Some of its data is damaged: what there is stands beside it, under the name with `.damaged` behind. */
  | "damaged"
  /** It was not in the target before, and could not be removed. */
  | "not-deleted"
  /** What was written under the run's temporary name can neither take its place nor be removed. The path is that of this file, below the target. */
  | "left-behind"
  /** Asked for, and not in the archive; or not in what can be read of it. */
  | "not-in-archive"
  /** Put out, though the archive has another entry of that path behind it, which a restore would leave in the end. */
  | "superseded";

export interface RestoreProblem {
  /** Path in the archive, but for `left-behind`; raw bytes. */
  readonly path: Uint8Array;
  readonly reason: RestoreReason;
  readonly errno: string | undefined;
}

/** Names listed; the rest are only counted, so that a read-only target does not fill the memory. */
const LISTED_PROBLEMS_MAX = 10_000;

/** More links to directories than anybody has made by hand. */
const LINKS_LISTED_MAX = 1_000;

export class RestoreProblems {
  readonly #listed: RestoreProblem[] = [];
  #count = 0;
  readonly #links: Uint8Array[] = [];
  #linkCount = 0;

  add(path: Uint8Array, reason: RestoreReason, errno?: string): void {
    this.#count += 1;
    if (this.#listed.length < LISTED_PROBLEMS_MAX) this.#listed.push({ path: new Uint8Array(path), reason, errno });
  }

  /** A symbolic link stood where the archive has a directory, and is one now: as the archive has it, but what was behind it is not seen any more. */
  linkReplaced(path: Uint8Array): void {
    this.#linkCount += 1;
    if (this.#links.length < LINKS_LISTED_MAX) this.#links.push(new Uint8Array(path));
  }

  get links(): readonly Uint8Array[] {
    return this.#links;
  }

  get linkCount(): number {
    return this.#linkCount;
  }

  get listed(): readonly RestoreProblem[] {
    return this.#listed;
  }

  get count(): number {
    return this.#count;
  }
}

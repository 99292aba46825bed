/** Restores tar streams into real directories, and says in text what was reported. */
import * as fs from "node:fs";
import { damageText } from "#cli/damage-text.ts";
import type { MetadataOptions } from "#restore/metadata.ts";
import { RestoreProblems } from "#restore/problems.ts";
import { Selection } from "#restore/selection.ts";
import { TarFeed } from "#restore/tar-feed.ts";
import type { TreeOptions, TreeCounts } from "#restore/tree-options.ts";
import { TreeWriter } from "#restore/tree-writer.ts";
import { isRoot, run } from "#test/support/tree.ts";

export interface TarRestore {
  readonly counts: TreeCounts;
  /** `path reason errno`, paths as latin1 text. */
  readonly problems: readonly string[];
  readonly removed: readonly string[];
  readonly replacedLinks: readonly string[];
  readonly damage: readonly string[];
}

const OWN_METADATA: MetadataOptions = {
  privileged: isRoot,
  owners: true,
  uid: process.getuid?.() ?? 0,
  gids: new Set([process.getgid?.() ?? 0, ...(process.getgroups?.() ?? [])]),
  userId: (name) => (name === "nobody" ? 65_534 : undefined),
  groupId: (name) => (name === "nogroup" ? 65_534 : undefined),
};

export type TarRestoreOptions = Partial<Omit<TreeOptions, "selection" | "target">> & {
  readonly paths?: readonly string[];
  /** These bytes of the tar are damaged, in every pass: from one offset to the other. */
  readonly damagedAt?: readonly [number, number];
};

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const NO_PIECE = { index: 0, offset: 0, rawOffset: undefined, enterAt: undefined, leaveAt: undefined };

/** Both passes, as the engine makes them. The tar comes in pieces of `pieceBytes`. */
export function restoreTar(
  tar: Uint8Array,
  target: string,
  options: TarRestoreOptions = {},
  pieceBytes = 10_000,
): TarRestore {
  const problems = new RestoreProblems();
  const removed: string[] = [];
  const { paths = [], damagedAt: [lostFrom, lostTo] = [tar.length, tar.length], ...rest } = options;
  const writer = new TreeWriter({
    target: Buffer.from(target),
    selection: new Selection(paths.map((path) => Buffer.from(path, "latin1"))),
    overwrite: "always",
    stripComponents: 0,
    dryRun: false,
    deletion: undefined,
    metadata: OWN_METADATA,
    temporaryName: ".nbackup-test.tmp",
    startedSeconds: Math.floor(Date.now() / 1000) - 1,
    problem: (path, reason, errno) => problems.add(path, reason, errno),
    linkReplaced: (path) => problems.linkReplaced(path),
    removed: (path) => removed.push(latin1(path)),
    ...rest,
  });
  const feed = new TarFeed(writer);
  const pass = (): void => {
    const push = (part: Uint8Array): void => {
      for (let at = 0; at < part.length; at += pieceBytes) feed.push(part.subarray(at, at + pieceBytes), undefined);
    };
    push(tar.subarray(0, lostFrom));
    const length = lostTo - lostFrom;
    if (length > 0) feed.missing({ ...NO_PIECE, length }, "crc", length, undefined);
    push(tar.subarray(lostTo));
    feed.endPass(false);
  };
  pass();
  if (!writer.deferred.isEmpty) {
    writer.beginLinks();
    pass();
  }
  writer.finish();
  const listed = problems.listed.map(({ path, reason, errno }) =>
    [latin1(path), reason, errno].filter((part) => part !== undefined).join(" "),
  );
  return {
    counts: { ...writer.counts },
    problems: listed,
    removed: removed.sort(),
    replacedLinks: problems.links.map(latin1),
    damage: feed.damages.map(damageText),
  };
}

/**
 * All names below a directory with type, size, mode, owner, time, link target and content, in text, made by find and sha256sum: by programs
 * that have nothing to do with ours. Two equal trees give equal text. Hard links show as their number.
 */
export function describeTree(directory: string): string {
  const format = "%P\\0%y %s %m %U %G %T@ %l %n\\0";
  const listing = run("find", [
    directory,
    "(",
    "-type",
    "d",
    "-printf",
    format.replace("%s ", "").replace(" %n", ""),
    ")",
    "-o",
    "-printf",
    format,
  ]);
  const sums = run("sh", [
    "-c",
    'cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum -z',
    "sh",
    directory,
  ]);
  const parts = listing.toString("latin1").split("\0");
  const lines: string[] = [];
  for (let i = 0; i + 1 < parts.length; i += 2) lines.push(`${parts[i]}\0${parts[i + 1]}`);
  return [...lines.sort(), sums.toString("latin1")].join("\n");
}

/** Attributes and access control lists of everything below, by getfattr. */
export function describeAttributes(directory: string): string {
  const text = run("sh", [
    "-c",
    'cd "$1" && find . -print0 | sort -z | xargs -0r getfattr -h -d -m - -e hex --',
    "sh",
    directory,
  ]);
  return text.toString("latin1");
}

/** A directory with a canary around the target: `check` throws when anything outside the target changed. */
export function guarded(base: string): { readonly target: string; readonly check: () => void } {
  const target = `${base}/inside/target`;
  fs.mkdirSync(target, { recursive: true });
  fs.mkdirSync(`${base}/outside`);
  fs.writeFileSync(`${base}/outside/canary`, "untouched");
  fs.writeFileSync(`${base}/inside/canary`, "untouched");
  const look = (): string =>
    run("sh", [
      "-c",
      'cd "$1" && find . -path ./inside/target -prune -o -printf "%p %y %s %m %U %G %C@ %T@ %l %n\\n" | sort',
      "sh",
      base,
    ]).toString();
  // Writing below the target changes nothing of the directory above it.
  const before = look();
  return {
    target,
    check: () => {
      const after = look();
      if (after !== before) throw new Error(`something outside the target changed:\n${before}\n${after}`);
    },
  };
}

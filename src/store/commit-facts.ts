/**
 * What the commit records of a storage say of archives, for who only looks: a server that runs may be appending to the file, or there may be
 * none, or it may not be read. Then less is known, and nothing is wrong.
 */
import { errnoName } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { type DiskFile, orMissing } from "./disk.ts";
import { type CommitLine, parseCommitLine } from "./records.ts";
import { CONTROL_DIRECTORY, type StorageRoot } from "./storage-root.ts";

export interface CommitFacts {
  readonly entries: number;
  readonly rawBytes: number;
  readonly problems: number;
  readonly unread: readonly Uint8Array[] | undefined;
  readonly committedWallMs: number;
  /** Of the archive; a file of another size is not the one that was committed. */
  readonly archiveBytes: number;
}

const FILE = `${CONTROL_DIRECTORY}/commits.jsonl`;
const READ_BYTES = MiB;
const NEWLINE = 0x0a;
/** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` in a line; most lines are of archives that nobody asked for. */
const ARCHIVE = /"archive":"([^"\\]+)"/;

/** By archive, of those that are wanted. Rejects with what the disk throws when it fails to read. */
export async function readCommitFacts(
  root: StorageRoot,
  wanted: ReadonlySet<string>,
): Promise<ReadonlyMap<string, CommitFacts>> {
  const facts = new Map<string, CommitFacts>();
  const file = await openRecords(root);
  if (file === undefined) return facts;
  try {
    for await (const text of lines(file)) {
      if (!wanted.has(ARCHIVE.exec(text)?.[1] ?? "")) continue;
      // A line that is being written now, or is damaged, is one less to know of.
      const line = parseCommitLine(text);
      if (line?.type === "commit") facts.set(line.intent.archive, factsOf(line));
    }
  } finally {
    await file.close();
  }
  return facts;
}

function factsOf({ committedWallMs, intent }: Extract<CommitLine, { readonly type: "commit" }>): CommitFacts {
  const { entries, rawBytes, problems, files } = intent;
  const unread = intent.unread?.map((path) => Uint8Array.from(Buffer.from(path, "base64")));
  return { entries, rawBytes, problems, unread, committedWallMs, archiveBytes: files[0]?.bytes ?? 0 };
}

/** Undefined where there is none, and for who may not read it: the directory is the server's own. */
async function openRecords(root: StorageRoot): Promise<DiskFile | undefined> {
  try {
    return await orMissing(root.openFile(FILE, "read"));
  } catch (error) {
    const errno = errnoName(error);
    if (errno === "EACCES" || errno === "ENOTDIR" || errno === "ELOOP" || errno === "EINVAL") return undefined;
    throw error;
  }
}

/** Whole lines, without their ends. */
async function* lines(file: DiskFile): AsyncGenerator<string, void, undefined> {
  const buffer = Buffer.alloc(READ_BYTES);
  let offset = 0;
  for (;;) {
    const length = await file.read(buffer, offset);
    const end = buffer.subarray(0, length).lastIndexOf(NEWLINE) + 1;
    // The end of the file, or a line longer than any of ours.
    if (end === 0) return;
    yield* buffer
      .subarray(0, end - 1)
      .toString("utf8")
      .split("\n");
    offset += end;
  }
}

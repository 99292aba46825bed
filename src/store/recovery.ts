/**
 * What a storage does at its start with the sessions that a dead server left: a commit that had begun is carried out, a
 * session whose journal can be believed goes on where its journal says, and what is worth nothing is removed. It connects
 * nobody: who goes on is handed to the server (storage.ts).
 */
import type { FileNumber } from "#base/chunk.ts";
import { toFailure, Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { isSessionId } from "./archive-names.ts";
import { ASSEMBLY_START, type AssembledPoint, pointAfter } from "./assembly.ts";
import type { CommitLog } from "./commit-log.ts";
import { orMissing } from "./disk.ts";
import type { ChunkRecord, JournalRecord } from "./journal-format.ts";
import { readJournal } from "./journal-reader.ts";
import { FileLedger } from "./ledger.ts";
import { type CommitIntent, type JournalHead, parseHead, parseIntent } from "./records.ts";
import {
  closeSessionFiles,
  openSessionFiles,
  removeSessionFiles,
  SESSIONS_DIRECTORY,
  sessionPaths,
  type SessionFiles,
  type StagingOptions,
} from "./session-files.ts";
import type { SessionRemovals } from "./session-removals.ts";
import type { CommitAnswer } from "./session-types.ts";
import type { StorageRoot } from "./storage-root.ts";

/** A session that can go on: its open files, and what of each is durable. */
export interface Survivor {
  readonly head: JournalHead;
  readonly files: SessionFiles;
  /** By file number. */
  readonly ledgers: readonly [FileLedger, FileLedger];
}

/** A session that ended with the dead server, and why; nothing of it is left on the disk. */
export interface Casualty {
  readonly head: JournalHead;
  readonly failure: Failure;
}

/** A session that the dead server had committed, or was committing, without being able to say so. */
export interface Completed {
  readonly head: JournalHead;
  readonly answer: CommitAnswer;
}

export interface Recovered {
  readonly completed: readonly Completed[];
  readonly survivors: readonly Survivor[];
  readonly casualties: readonly Casualty[];
  /** Those that could not be dealt with: they are as they were. */
  readonly unread: readonly string[];
}

export interface RecoveryParts {
  readonly root: StorageRoot;
  readonly commits: CommitLog;
  readonly log: Logger;
  readonly staging: StagingOptions;
  readonly removals: SessionRemovals;
  /** Carries out an intent and removes the session's directory. */
  readonly commit: (intent: CommitIntent) => Promise<CommitAnswer>;
}

/**
 * Looks at every session directory, or at these alone. Resolves when all is in order; a session that cannot be dealt with is
 * logged and left as it is. Rejects only when the directories cannot be listed.
 */
export async function recoverSessions(parts: RecoveryParts, only?: readonly string[]): Promise<Recovered> {
  const survivors = new Map<string, Survivor>();
  const casualties: Casualty[] = [];
  const completed: Completed[] = [];
  const unread: string[] = [];
  for (const session of only ?? (await parts.root.list(SESSIONS_DIRECTORY))) {
    if (!isSessionId(session)) {
      parts.log.warn("something that is not a session lies among the sessions", { name: session });
      continue;
    }
    try {
      const found = await recoverSession(parts, session);
      if (found === undefined) continue;
      if ("failure" in found) {
        casualties.push(found);
        continue;
      }
      if ("answer" in found) {
        completed.push(found);
        continue;
      }
      const entry = `${found.head.agent}/${found.head.backup}`;
      const other = survivors.get(entry);
      // A server that died while one session took another's place leaves both: the newer one was to stay.
      const [newer, older] = other === undefined || newerThan(found, other) ? [found, other] : [other, found];
      survivors.set(entry, newer);
      if (older !== undefined) casualties.push(await superseded(parts, older));
    } catch (error) {
      parts.log.error("a session of an earlier server could not be dealt with", { session, error: String(error) });
      unread.push(session);
    }
  }
  return { completed, survivors: [...survivors.values()], casualties, unread };
}

/** Undefined when nothing is left of it that anybody waits for. */
async function recoverSession(
  parts: RecoveryParts,
  session: string,
): Promise<Completed | Survivor | Casualty | undefined> {
  const { root, commits, log, removals, commit } = parts;
  const record = commits.find(session);
  if (record === undefined && removals.hasEnded(session)) {
    // Its end was told, whatever is left of it: not even a commit that it had begun counts any more.
    await removals.remove(session);
    return undefined;
  }
  const left = await readLeftOver(root, session);
  const { head, intent } = left;
  if (record !== undefined) {
    // Its archive stands and its record too: only the tidying up was missing, and the word that it was committed.
    await removals.remove(session);
    return head === undefined ? undefined : { head, answer: record };
  }
  if (intent?.session === session) {
    log.warn("an earlier server died while committing: the commit is carried out", {
      session,
      archive: intent.archive,
    });
    const answer = await commit(intent);
    return head === undefined ? undefined : { head, answer };
  }
  if (head?.session !== session) {
    // Its journal was torn before the first acknowledgement, or torn down on purpose: nobody was promised anything.
    return await removed(parts, session);
  }
  if (left.failure !== undefined) return await lost(parts, head, left.failure);
  return await reopen(parts, head, left);
}

async function reopen(
  parts: RecoveryParts,
  head: JournalHead,
  left: LeftOver,
): Promise<Survivor | Casualty | undefined> {
  const { root, log, staging } = parts;
  const files = await lookedFor(root, () => openSessionFiles(root, head, left, staging));
  if (files === undefined) {
    // The names were not on the disk yet: so the agent was not admitted, and nobody was promised anything.
    if (left.last.length === 0) return await removed(parts, head.session);
    return await lost(parts, head, new Failure("E_DISK", "a file of the session is gone"));
  }
  let missing: ChunkRecord | undefined;
  try {
    missing = await firstMissing(files, left.last);
    if (missing !== undefined) {
      await root.checkPresent();
      missing = await firstMissing(files, left.last);
    }
  } catch (error) {
    await closeSessionFiles(files);
    throw error;
  }
  if (missing !== undefined) {
    await closeSessionFiles(files);
    const text = `chunk ${missing.sequence} of file ${missing.file} was acknowledged and is not on the disk any more`;
    return await lost(parts, head, new Failure("E_DISK", text));
  }
  log.info("a session of an earlier server goes on", {
    ...{ session: head.session, agent: head.agent, backup: head.backup },
    ...{ durableBytes: left.ledgers[0].durableBytes, tornBytes: left.tornBytes },
  });
  return { head, files, ledgers: left.ledgers };
}

/** The contents are looked at later, while the session goes on; that the last bytes are there is seen at once. */
async function firstMissing(files: SessionFiles, chunks: readonly ChunkRecord[]): Promise<ChunkRecord | undefined> {
  for (const chunk of chunks) if (!(await files.placement.holds(chunk))) return chunk;
  return undefined;
}

/** What is missing is looked for once more when the storage was seen in its place: its disk may have been away for a moment. */
async function lookedFor<T>(root: StorageRoot, look: () => Promise<T>): Promise<T | undefined> {
  const found = await orMissing(look());
  if (found !== undefined) return found;
  await root.checkPresent();
  return await orMissing(look());
}

async function removed({ root, log }: RecoveryParts, session: string): Promise<undefined> {
  log.warn("what is left of a session of an earlier server is removed", { session });
  await removeSessionFiles(root, session);
}

/** Its end is decided and is told, also when the disk does not let go of it. */
async function lost(
  { removals }: RecoveryParts,
  head: JournalHead,
  failure: Failure,
  files?: SessionFiles,
): Promise<Casualty> {
  await removals.remove(head.session, files);
  return { head, failure };
}

function newerThan(one: Survivor, other: Survivor): boolean {
  return one.head.archive > other.head.archive;
}

async function superseded(parts: RecoveryParts, { head, files }: Survivor): Promise<Casualty> {
  const text = `a newer session of ${head.agent}/${head.backup} was begun before the server died`;
  return await lost(parts, head, new Failure("E_SUPERSEDED", text), files);
}

/** What the journal of a session says. */
interface LeftOver {
  readonly head: JournalHead | undefined;
  readonly intent: CommitIntent | undefined;
  readonly ledgers: readonly [FileLedger, FileLedger];
  /** Of each file the chunk that reaches furthest. */
  readonly last: readonly ChunkRecord[];
  /** By file number, how far its staged chunks were assembled. */
  readonly assembled: readonly AssembledPoint[];
  /** The records contradict one another. */
  readonly failure: Failure | undefined;
  readonly wholeBytes: number;
  readonly tornBytes: number;
}

async function readLeftOver(root: StorageRoot, session: string): Promise<LeftOver> {
  const found = new LeftOverReader();
  const file = await lookedFor(root, () => root.openFile(sessionPaths(session).journal, "read"));
  if (file === undefined) return found.result({ wholeBytes: 0, tornBytes: 0 });
  try {
    // What a killed server wrote can be read, synced or not. Whatever is told as durable because of it must survive the
    // machine too.
    await file.fdatasync();
    return found.result(await readJournal(file, (record) => found.take(record)));
  } finally {
    await file.close();
  }
}

class LeftOverReader {
  #head: JournalHead | undefined;
  #intent: CommitIntent | undefined;
  #ledgers: readonly [FileLedger, FileLedger] = [new FileLedger(0, 0), new FileLedger(1, 0)];
  #failure: Failure | undefined;
  /** By file number. */
  readonly #last: (ChunkRecord | undefined)[] = [undefined, undefined];
  readonly #assembled: Record<FileNumber, AssembledPoint> = { 0: ASSEMBLY_START, 1: ASSEMBLY_START };

  take(record: JournalRecord): void {
    switch (record.type) {
      case "session": {
        const head = parseHead(record.body);
        if (this.#head !== undefined || head === undefined) return;
        this.#head = head;
        this.#ledgers = [new FileLedger(0, head.windowBytes), new FileLedger(1, head.windowBytes)];
        return;
      }
      case "intent":
        this.#intent = parseIntent(record.body);
        return;
      case "chunk":
        this.#restore(record.chunk);
        return;
      case "assembled": {
        const { file } = record.assembled;
        this.#assembled[file] = pointAfter(this.#assembled[file], record.assembled);
      }
    }
  }

  result(end: { readonly wholeBytes: number; readonly tornBytes: number }): LeftOver {
    const last = this.#last.filter((chunk) => chunk !== undefined);
    return {
      ...{ head: this.#head, intent: this.#intent, ledgers: this.#ledgers, last, failure: this.#failure },
      assembled: [this.#assembled[0], this.#assembled[1]],
      ...end,
    };
  }

  #restore(chunk: ChunkRecord): void {
    const { file, sequence } = chunk;
    if (sequence > (this.#last[file]?.sequence ?? -1)) this.#last[file] = chunk;
    try {
      this.#ledgers[file].restore(chunk);
    } catch (error) {
      this.#failure ??= new Failure("E_DISK", `the journal contradicts itself: ${toFailure(error).message}`);
    }
  }
}

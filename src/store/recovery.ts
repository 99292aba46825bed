/**
 * What a storage does at its start with the sessions that a dead server left: a commit that had begun is carried out,
 * everything else is removed. (Going on with unfinished sessions comes with issue "Nothing is lost"; their journals say
 * all that is needed.)
 */
import type { Logger } from "#base/log.ts";
import { isSessionId } from "./archive-names.ts";
import type { CommitLog } from "./commit-log.ts";
import { readJournal } from "./journal-reader.ts";
import { orMissing } from "./disk.ts";
import { type CommitIntent, type JournalHead, parseHead, parseIntent } from "./records.ts";
import { removeSessionFiles, SESSIONS_DIRECTORY, sessionPaths } from "./session-files.ts";
import type { StorageRoot } from "./storage-root.ts";

/** What the journal of a session says, its chunks left out. */
interface LeftOver {
  readonly head: JournalHead | undefined;
  readonly intent: CommitIntent | undefined;
  readonly durableChunks: number;
}

/**
 * Looks at every session directory. `commit` carries out an intent and removes the session's directory. Resolves when all
 * is in order; a session that cannot be dealt with is logged and left for the next start.
 */
export async function recoverSessions(
  root: StorageRoot,
  commits: CommitLog,
  log: Logger,
  commit: (intent: CommitIntent) => Promise<unknown>,
): Promise<void> {
  for (const session of await root.list(SESSIONS_DIRECTORY)) {
    if (!isSessionId(session)) {
      log.warn("something that is not a session lies among the sessions", { name: session });
      continue;
    }
    try {
      await recoverSession(root, commits, session, log, commit);
    } catch (error) {
      log.error("a session of an earlier server could not be cleaned up", { session, error: String(error) });
    }
  }
}

async function recoverSession(
  root: StorageRoot,
  commits: CommitLog,
  session: string,
  log: Logger,
  commit: (intent: CommitIntent) => Promise<unknown>,
): Promise<void> {
  const { head, intent, durableChunks } = await readLeftOver(root, session);
  if (intent !== undefined && intent.session === session && commits.find(session) === undefined) {
    log.warn("an earlier server died while committing: the commit is carried out", {
      session,
      archive: intent.archive,
    });
    await commit(intent);
    return;
  }
  log.warn("an unfinished session of an earlier server is removed", {
    ...{ session, agent: head?.agent, backup: head?.backup, durableChunks },
  });
  await removeSessionFiles(root, session);
}

async function readLeftOver(root: StorageRoot, session: string): Promise<LeftOver> {
  let [head, intent, durableChunks]: [JournalHead | undefined, CommitIntent | undefined, number] = [
    undefined,
    undefined,
    0,
  ];
  const file = await orMissing(root.openFile(sessionPaths(session).journal, "read"));
  if (file === undefined) return { head, intent, durableChunks };
  try {
    await readJournal(file, (record) => {
      if (record.type === "session") head ??= parseHead(record.body);
      else if (record.type === "intent") intent = parseIntent(record.body);
      else if (record.type === "chunk") durableChunks += 1;
    });
  } finally {
    await file.close();
  }
  return { head, intent, durableChunks };
}

/**
 * Session connections that stay open after Committed, because their agents wait for the verification of what was committed. PROTOCOL.md
 * "Verification". Each hears how far it is and how it ended; one that goes away costs nobody anything.
 */
import type { CommitRecord } from "#store/records.ts";
import type { CommitAnswer, VerifyResult } from "#store/session-types.ts";
import { MESSAGE_TEXT_CHARS_MAX } from "#wire/limits.ts";
import type { AnyMessage } from "#wire/messages.ts";
import type { Link } from "./link.ts";
import { committedOf } from "./session-events.ts";
import type { StorageShelf } from "./storage-shelf.ts";
import type { Verifier, VerifyWatcher } from "./verifier.ts";

export interface VerifyWaitOptions {
  readonly verifier: Verifier;
  readonly storages: StorageShelf;
}

export class VerifyWait {
  readonly #options: VerifyWaitOptions;

  constructor(options: VerifyWaitOptions) {
    this.#options = options;
  }

  /** The connection has heard Committed; whatever it is told from now on, it is told by this. */
  take(link: Link, agent: string, answer: CommitAnswer): void {
    if (link.over) return;
    const { verifier, storages } = this.#options;
    let told: VerifyResult | undefined;
    const tell = (result: VerifyResult): void => {
      told = result;
      sendVerified(link, answer, result);
      link.linger();
    };
    let unwatch = (): void => undefined;
    const message = (asked: AnyMessage): void => {
      if (asked.type !== "finish") return;
      link.send("committed", committedOf(answer));
      if (told !== undefined) sendVerified(link, answer, told);
    };
    const owner = { message, beat: () => link.ping(), drained: () => undefined, gone: () => unwatch() };
    link.hand(owner, "server/finishing", `agent ${agent}, session connection`);
    if (answer.verify === "none") {
      link.linger();
      return;
    }
    const { session } = answer;
    const watcher: VerifyWatcher = {
      progress: (done, total) => {
        if (!link.blocked) link.send("phase", { phase: "verifying", done, total });
      },
      result: tell,
    };
    /** False when neither a storage that is open nor the verifier knows of it. */
    const follow = (): boolean => {
      const record = this.#record(session);
      if (record?.verified !== undefined) tell(record.verified);
      else if (record !== undefined || verifier.awaits(session)) unwatch = verifier.watch(session, watcher);
      else return false;
      return true;
    };
    if (follow()) return;
    // Its storage may have failed since, and be there again.
    void storages.lookAgain().then(() => {
      if (link.over || follow()) return;
      tell({ result: "unknown", message: "its storage cannot be used now, or has forgotten it" });
    });
  }

  #record(session: string): CommitRecord | undefined {
    for (const storage of this.#options.storages.opened()) {
      const record = storage.commitRecord(session);
      if (record !== undefined) return record;
    }
    return undefined;
  }
}

function sendVerified(link: Link, { session }: CommitAnswer, { result, message }: VerifyResult): void {
  link.send("verified", { session, result, message: message.slice(0, MESSAGE_TEXT_CHARS_MAX) });
}

/**
 * Which sessions have ended and could not be removed from their storage's disk, kept in the server's state directory as
 * `ended-sessions.json`: so that none of them comes to life again at the next start. Those that were removed, nearly all,
 * are never in it. When it is lost such a session may be found, and waits for an agent that does not come.
 */
import { z } from "zod";
import type { Logger } from "#base/log.ts";
import type { Disk } from "./disk.ts";
import { StateFile } from "./state-file.ts";

/** Of a storage that is never opened again nobody can remove any: the oldest are forgotten then. */
const SESSIONS_MAX = 10_000;

const schema = z.object({ sessions: z.array(z.string()) });

export class EndedSessions {
  readonly #file: StateFile;
  readonly #log: Logger;
  /** In order of their end. */
  readonly #sessions: Set<string>;

  private constructor(file: StateFile, log: Logger, sessions: readonly string[]) {
    this.#file = file;
    this.#log = log;
    this.#sessions = new Set(sessions);
  }

  /** Never rejects: what cannot be read is said in the log, and nothing is known. */
  static async open(disk: Disk, stateDir: string, log: Logger): Promise<EndedSessions> {
    const file = new StateFile(disk, stateDir, "ended-sessions.json");
    let sessions: readonly string[] = [];
    try {
      const found = await file.read();
      if (found !== undefined) ({ sessions } = schema.parse(found));
    } catch (error) {
      const fields = { file: file.name, error: String(error) };
      log.warn("the list of sessions that could not be removed cannot be read and is begun anew", fields);
    }
    return new EndedSessions(file, log, sessions);
  }

  has(session: string): boolean {
    return this.#sessions.has(session);
  }

  /** It has ended, and is still there. Resolves when the disk knows it; never rejects. */
  async add(session: string): Promise<void> {
    if (this.#sessions.has(session)) return;
    this.#sessions.add(session);
    for (const oldest of this.#sessions) {
      if (this.#sessions.size <= SESSIONS_MAX) break;
      this.#sessions.delete(oldest);
    }
    await this.#write();
  }

  /** Nothing is left of it. Never rejects. */
  async delete(session: string): Promise<void> {
    if (this.#sessions.delete(session)) await this.#write();
  }

  async #write(): Promise<void> {
    try {
      await this.#file.write(() => ({ sessions: [...this.#sessions] }));
    } catch (error) {
      const fields = { file: this.#file.name, error: String(error) };
      this.#log.warn("the list of sessions that could not be removed could not be written", fields);
    }
  }
}

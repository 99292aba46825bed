/**
 * Where sessions are made and where they end: each takes a share of the server and gives it back, and its end is remembered.
 * Who gets a session is decided by the admission desk and by adoption.ts.
 */
import { Registry } from "./registry.ts";
import { Session, type SessionHost } from "./session.ts";
import type { SessionPlan } from "./session-types.ts";
import { type Share, Shares } from "./shares.ts";
import type { CommitAnswer } from "#store/session-types.ts";

export class SessionHouse {
  readonly registry = new Registry();
  readonly shares = new Shares();
  /** Called whenever a share came back: there may be room for the next one. */
  onRoom: () => void = () => undefined;
  /** Called at the end of each session that was committed. */
  onCommitted: (session: Session, answer: CommitAnswer) => void = () => undefined;
  readonly #host: Omit<SessionHost, "over">;
  #idleWaiters: (() => void)[] = [];

  constructor(host: Omit<SessionHost, "over">) {
    this.#host = host;
  }

  /** A session that is queued; at its end it leaves the registry and gives its share back. */
  make(plan: SessionPlan, share: Share): Session {
    const host = this.#host;
    const session: Session = new Session(plan, {
      ...host,
      // Asked each time: a reload may change it while the session runs.
      get idleTimeoutMs(): number {
        return host.idleTimeoutMs;
      },
      over: (over, outcome) => {
        this.registry.close(over, { id: plan.id, agent: plan.agent, run: plan.run, outcome });
        if (outcome.kind === "committed") this.onCommitted(over, outcome.answer);
        this.giveBack(share);
      },
    });
    share.fill(() => session.storedBytes);
    return session;
  }

  giveBack(share: Share): void {
    this.shares.release(share);
    this.onRoom();
    if (this.shares.taken.sessionCount > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  /** Resolves when no session runs or is being opened. */
  idle(): Promise<void> {
    if (this.shares.taken.sessionCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }
}

/**
 * What becomes of an agent that is revoked while the server runs: its sessions end, parked ones too, and its connections are closed.
 * A new Hello is judged at the door (revocations.ts). A commit that has begun stands: what it proves was sent before.
 */
import { type Clock, settled } from "#base/clock.ts";
import type { EventSink } from "#observe/events.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { REVOKED_END_MS } from "./limits.ts";
import type { Link } from "./link.ts";
import type { Registry } from "./registry.ts";
import { revokedFailure, type Revocations } from "./revocations.ts";
import type { Session } from "./session.ts";

/** Certificates know whole seconds: what one made after the revocation begins is a second later at the earliest. */
const SECOND_MS = 1000;

export interface RevocationGuardOptions {
  readonly revocations: Revocations;
  readonly registry: Pick<Registry, "sessions">;
  /** Connections of that agent, whatever they are for. */
  readonly linksOf: (agent: string) => readonly Link[];
  readonly known: (agent: string) => boolean;
  readonly clock: Clock;
  readonly events: EventSink;
}

/** What a revocation met. */
export interface RevokedView {
  readonly agent: string;
  /** Certificates whose notBefore is not after it are revoked; wall-clock milliseconds since 1970 UTC. */
  readonly revokedWallMs: number;
  readonly sessions: number;
  readonly connections: number;
  /** This server has heard of a certificate under that name. */
  readonly known: boolean;
}

export class RevocationGuard {
  readonly #options: RevocationGuardOptions;
  /** Of the last revocation that came to count. */
  #endedSessions = 0;

  constructor(options: RevocationGuardOptions) {
    this.#options = options;
    options.revocations.watch((agents) => {
      for (const agent of agents) this.#revoked(agent);
    });
  }

  /** Revokes and ends at once. Resolves when the disk knows it; rejects with what that throws, and then it counts until a restart. */
  async revoke(agent: string, atMs: number, certificates: readonly string[] = []): Promise<RevokedView> {
    const { revocations, linksOf, known } = this.#options;
    const before = linksOf(agent);
    this.#endedSessions = 0;
    const added = revocations.add(agent, atMs, certificates);
    const sessions = this.#endedSessions;
    const connections = before.filter((link) => link.over).length;
    await added;
    return { agent, revokedWallMs: revocations.beforeMs(agent) ?? atMs, sessions, connections, known: known(agent) };
  }

  /** Sessions that an earlier start had begun, for who was revoked meanwhile, end now. */
  sweep(): void {
    for (const session of [...this.#options.registry.sessions()]) {
      const beforeMs = this.#options.revocations.beforeMs(session.plan.agent);
      if (beforeMs !== undefined && isOlder(session, beforeMs))
        void session.end(revokedFailure(session.plan.agent, beforeMs));
    }
  }

  #revoked(agent: string): void {
    const { revocations, linksOf, clock, events } = this.#options;
    const beforeMs = revocations.beforeMs(agent);
    if (beforeMs === undefined) return;
    const sessions = this.#sessionsOf(agent, beforeMs);
    // What a session has to say of its end it says on its own connections, once its store has let go.
    const told = new Set(sessions.flatMap((session) => session.links()));
    this.#endedSessions = sessions.length;
    const ended = sessions.map((session) => session.end(revokedFailure(agent, beforeMs)));
    for (const link of linksOf(agent)) if (!told.has(link)) link.recheck();
    // A disk that hangs keeps a session from ending, and must not keep its connections open.
    void settled(
      clock,
      Promise.all(ended).then(() => undefined),
      REVOKED_END_MS,
    ).then(() => {
      for (const link of told) link.recheck();
    });
    const revoked = isoSeconds(beforeMs);
    events.emit({
      kind: "certificate.revoked",
      level: "warn",
      message: `the certificates of agent ${agent} made until ${revoked} are revoked`,
      fields: { agent, revoked, sessions: sessions.length },
    });
  }

  /** Begun later, but with such a certificate: the revocation was decided a while before it came to count. */
  #hasOnlyRevoked(session: Session): boolean {
    const links = session.links();
    return links.length > 0 && links.every((link) => isRefused(link));
  }

  #sessionsOf(agent: string, beforeMs: number): Session[] {
    const sessions = [...this.#options.registry.sessions()].filter(({ plan }) => plan.agent === agent);
    return sessions.filter((session) => isOlder(session, beforeMs) || this.#hasOnlyRevoked(session));
  }
}

function isRefused(link: Link): boolean {
  try {
    link.peer();
    return false;
  } catch {
    return true; // The reason is told to whom it concerns by `recheck`.
  }
}

/** It was begun with a certificate that is revoked: one made since could not be used that early. */
function isOlder({ plan }: Session, beforeMs: number): boolean {
  return plan.startWallMs < beforeMs + SECOND_MS;
}

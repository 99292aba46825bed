/**
 * What the simulator checks of fencing across a start of the server: the place of a session that an earlier start began is
 * its own run's for a while, unless that came back and went again.
 */
import { RETURN_MS } from "#server/limits.ts";
import type { SimProcess } from "./process.ts";

/** Who may be given the place of a session that ended as superseded. */
interface Loss {
  readonly session: string;
  readonly client: SimProcess;
}

export class KeptPlaces {
  /** By session, until when. */
  readonly #until = new Map<string, number>();
  /** By entry. */
  readonly #losses = new Map<string, Loss>();

  /** Of two that were left of one entry the newer one ends the older: nobody has its place by asking for it. */
  recovered(session: string, entry: string, nowMs: number): void {
    this.#until.set(session, nowMs + RETURN_MS);
    this.#losses.delete(entry);
  }

  /** A connection of its run is up. */
  returned(session: string): void {
    this.#until.delete(session);
  }

  /** A Begin lives in the server that it came to: who it drove out was given away to nobody. */
  serverGone(): void {
    this.#losses.clear();
  }

  superseded(session: string, entry: string, client: SimProcess, nowMs: number): void {
    if (nowMs < (this.#until.get(session) ?? 0)) this.#losses.set(entry, { session, client });
  }

  /** What is wrong with it that this process has got the entry. */
  admitted(entry: string, client: SimProcess): string | undefined {
    const loss = this.#losses.get(entry);
    this.#losses.delete(entry);
    if (loss === undefined || loss.client === client) return undefined;
    return `${client.name} was given the place of session ${loss.session}, whose own run might still have come back`;
  }
}

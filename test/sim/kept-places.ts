/**
 * What the simulator checks of fencing across a start of the server: the place of a session that an earlier start began is
 * its own run's for a while, unless that came back and went again, or is over.
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
  /** Processes and entries whose run is over: nobody of it comes back. */
  readonly #over = new Set<string>();

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

  runOver(client: SimProcess, entry: string): void {
    this.#over.add(`${client.name} ${entry}`);
  }

  superseded(session: string, entry: string, client: SimProcess, nowMs: number): void {
    if (nowMs < (this.#until.get(session) ?? 0)) this.#losses.set(entry, { session, client });
  }

  /** What is wrong with it that this process has got the entry. */
  admitted(entry: string, client: SimProcess): string | undefined {
    const loss = this.#losses.get(entry);
    this.#losses.delete(entry);
    this.#over.delete(`${client.name} ${entry}`);
    if (loss === undefined || loss.client === client || this.#over.has(`${loss.client.name} ${entry}`))
      return undefined;
    return `${client.name} was given the place of session ${loss.session}, whose own run might still have come back`;
  }
}

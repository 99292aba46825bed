/**
 * Maintenance: while it is on nobody new is admitted, and who asks is told to come again. Running sessions are not its
 * business. It remembers its state through whoever keeps it over a start of the server.
 */
import type { Clock } from "#base/clock.ts";
import { errnoName, Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { EventSink } from "#observe/events.ts";
import type { MaintenanceView } from "#observe/views.ts";
import { MAINTENANCE_RETRY_MS } from "./limits.ts";

export interface MaintenanceMemory {
  /** As an earlier start left it; null: it was off. */
  readonly kept: MaintenanceView | null;
  /** Rejects with what the disk throws. */
  keep(on: MaintenanceView | null): Promise<void>;
}

export class Maintenance {
  readonly #memory: MaintenanceMemory;
  readonly #clock: Clock;
  readonly #events: EventSink;
  #on: MaintenanceView | null;
  /** The last change is where a restart finds it. */
  #isKept = true;

  constructor(memory: MaintenanceMemory, clock: Clock, events: EventSink) {
    this.#memory = memory;
    this.#clock = clock;
    this.#events = events;
    this.#on = memory.kept;
  }

  get on(): MaintenanceView | null {
    return this.#on;
  }

  /** At the start of the server: says that it is still on. */
  remind(): void {
    if (this.#on === null) return;
    const { sinceWallMs, reason } = this.#on;
    this.#emit("maintenance.on", "the server is still in maintenance: no session begins", { sinceWallMs, reason });
  }

  /** What an agent hears that asks for a session; undefined while it is off. */
  deferral(): Failure | undefined {
    if (this.#on === null) return undefined;
    const { reason } = this.#on;
    const text = `the server is in maintenance${reason === null ? "" : `: ${safeText(reason)}`}`;
    return new Failure("E_MAINTENANCE", text, { retryAfterMs: MAINTENANCE_RETRY_MS });
  }

  /** Holds from now on even when it rejects: Failure E_STATE_DIR when the disk does not keep it. */
  async turnOn(reason: string | null): Promise<void> {
    const sinceWallMs = this.#on?.sinceWallMs ?? Math.floor(this.#clock.wall());
    this.#on = { sinceWallMs, reason };
    this.#emit("maintenance.on", "maintenance begins: no session begins until it is off", { sinceWallMs, reason });
    await this.#keep();
  }

  /** As turnOn. */
  async turnOff(): Promise<void> {
    if (this.#on === null && this.#isKept) return;
    if (this.#on !== null) {
      const { sinceWallMs } = this.#on;
      this.#on = null;
      this.#emit("maintenance.off", "maintenance is over", { sinceWallMs });
    }
    await this.#keep();
  }

  async #keep(): Promise<void> {
    this.#isKept = false;
    try {
      await this.#memory.keep(this.#on);
      this.#isKept = true;
    } catch (cause) {
      throw notKept(this.#on === null ? "off" : "on", cause);
    }
  }

  #emit(kind: string, message: string, fields: Record<string, unknown>): void {
    this.#events.emit({ kind, level: "info", message, fields });
  }
}

function notKept(state: "on" | "off", cause: unknown): Failure {
  const text = `maintenance is ${state}, but the state directory did not take it: ${errnoName(cause) ?? String(cause)}`;
  return new Failure("E_STATE_DIR", text, {
    cause,
    hint: "A restart of the server would not know it. When the directory can be written, give the same command again.",
  });
}

/**
 * Answers health connections: looks at every storage's disk, and says one Health. A disk that does not answer is that
 * storage's problem: the others are told all the same. What the figures mean is health.ts's.
 */
import type { Clock } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { judgeHealth, type SessionCounts, storageFailed, type StorageHealth, storageHealth } from "./health.ts";
import { HEALTH_DISK_MS } from "./limits.ts";
import type { Link, LinkOwner } from "./link.ts";
import type { StorageConditions } from "./storage-conditions.ts";
import type { StorageShelf } from "./storage-shelf.ts";

const DAY_MS = 86_400_000;

export interface HealthDeskOptions {
  readonly clock: Clock;
  readonly storages: StorageShelf;
  readonly conditions: StorageConditions;
  readonly sessions: () => SessionCounts;
  readonly maintenance: () => boolean;
  /** When the server's own certificate ends, wall milliseconds; undefined where nobody knows. */
  readonly certificateNotAfterMs: () => number | undefined;
}

export class HealthDesk {
  readonly #options: HealthDeskOptions;
  /** A look that is under way: who asks meanwhile gets the same, so that nobody makes the disks work by asking often. */
  #looking: Promise<readonly StorageHealth[]> | undefined;

  constructor(options: HealthDeskOptions) {
    this.#options = options;
  }

  /** Who answers on the connection from now on; it ends by itself. */
  receive(link: Link): LinkOwner {
    return {
      message: () => undefined,
      beat: () => link.ping(),
      drained: () => undefined,
      gone: () => undefined,
    };
  }

  /** After Welcome. */
  async answer(link: Link): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    const storages = await this.#looking;
    const about = { maintenance: this.#options.maintenance(), certificateDaysLeft: this.#certificateDaysLeft() };
    link.send("health", judgeHealth(storages, this.#options.sessions(), about));
    link.end();
  }

  #certificateDaysLeft(): number | undefined {
    const { clock, certificateNotAfterMs } = this.#options;
    const notAfterMs = certificateNotAfterMs();
    return notAfterMs === undefined ? undefined : Math.max(0, Math.floor((notAfterMs - clock.wall()) / DAY_MS));
  }

  /** What its room does not say: its disk reported an error, or lets nothing be written. */
  #trouble(name: string): StorageHealth | undefined {
    const { state, message } = this.#options.conditions.of(name);
    if (state !== "failed") return undefined;
    return storageFailed(name, new Failure("E_STORAGE_FAILED", message ?? "it cannot be used"));
  }

  /** Never rejects. */
  #look(): Promise<readonly StorageHealth[]> {
    return Promise.all(this.#options.storages.names().map((name) => this.#lookAt(name)));
  }

  async #lookAt(name: string): Promise<StorageHealth> {
    const { clock, storages } = this.#options;
    const late = Promise.withResolvers<StorageHealth>();
    const timer = clock.after(HEALTH_DISK_MS, () => {
      const text = `its disk did not answer within ${HEALTH_DISK_MS / 1000} s`;
      late.resolve(storageFailed(name, new Failure("E_STORAGE_FAILED", text)));
    });
    const space = storages.open(name).then((storage) => storage.space());
    const looked = space.then(
      (room) => this.#trouble(name) ?? storageHealth(name, room),
      (error: unknown) => storageFailed(name, causeOf(toFailure(error))),
    );
    const health = await Promise.race([looked, late.promise]);
    timer.cancel();
    return health;
  }
}

/** The shelf says that a storage cannot be used; why is said by what lies behind it. */
function causeOf(failure: Failure): Failure {
  return failure.cause instanceof Failure ? failure.cause : failure;
}

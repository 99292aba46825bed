/**
 * Where the page listens. Another address or certificate is a new listener; what is on its way over the old one goes on to its end. It knows
 * nothing of who may come in.
 */
import { errnoName } from "#base/errors.ts";
import type { Address } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import { serveWeb, type WebServer, type WebServerOptions } from "#web/web-server.ts";
import { type PageTls, pageFailure } from "./web-files.ts";

export interface DoorPlace {
  readonly listen: Address;
  /** Undefined: plain HTTP. */
  readonly tls: PageTls | undefined;
  /** A listener keeps the one that it began with. */
  readonly idleTimeoutMs: number;
}

export type DoorOptions = Omit<WebServerOptions, "listen" | "tls">;

interface Open {
  readonly place: DoorPlace;
  readonly server: WebServer;
}

export class WebDoor {
  readonly #options: DoorOptions;
  #open: Open | undefined;
  /** They take no new connection and have some. */
  readonly #former = new Set<WebServer>();

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** Undefined: it is closed. */
  get place(): DoorPlace | undefined {
    return this.#open?.place;
  }

  /** `127.0.0.1:9848`; undefined: it is closed. */
  get address(): string | undefined {
    if (this.#open === undefined) return undefined;
    const { place, server } = this.#open;
    return formatAddress({ host: place.listen.host, port: server.port });
  }

  /** Opens it here, or moves it. Whether anything changed. Throws Failure E_WEB, and then it is where it was. */
  move(place: DoorPlace): boolean {
    const former = this.#open;
    if (former !== undefined && isSame(former.place, place)) return false;
    // Its own port has to be free before it can be had again.
    const isOwnPort = former !== undefined && former.place.listen.port === place.listen.port;
    if (isOwnPort) this.#leave(former.server);
    try {
      this.#open = { place, server: this.#serve(place) };
    } catch (error) {
      if (isOwnPort) this.#back(former.place);
      throw error;
    }
    if (former !== undefined && !isOwnPort) this.#leave(former.server);
    return true;
  }

  /** Closes every connection. */
  close(): void {
    this.#open?.server.stop();
    this.#open = undefined;
    for (const server of this.#former) server.stop();
    this.#former.clear();
  }

  #back(place: DoorPlace): void {
    this.#open = undefined;
    this.#open = { place, server: this.#serve(place) };
  }

  #leave(server: WebServer): void {
    this.#former.add(server);
    void server.leave().finally(() => this.#former.delete(server));
  }

  #serve({ listen, tls }: DoorPlace): WebServer {
    try {
      return serveWeb({ ...this.#options, listen, tls });
    } catch (error) {
      throw pageFailure(`${formatAddress(listen)} cannot be listened on: ${errnoName(error) ?? String(error)}`, error);
    }
  }
}

function isSame(a: DoorPlace, b: DoorPlace): boolean {
  return (
    Bun.deepEquals(a.listen, b.listen) &&
    a.idleTimeoutMs === b.idleTimeoutMs &&
    a.tls?.cert === b.tls?.cert &&
    a.tls?.key === b.tls?.key
  );
}

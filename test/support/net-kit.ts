/** Real TLS on loopback for tests of src/net: certificates of every kind, ends that keep what they see, and signals instead of sleeps. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { systemClock } from "#bin/system.ts";
import type { Failure } from "#base/errors.ts";
import type { Connection } from "#net/connection.ts";
import { TlsDialer, type TlsDialerOptions } from "#net/dial.ts";
import { listenTls, type TlsListener, type TlsListenOptions } from "#net/listen.ts";
import type { TlsIdentity } from "#net/tls-options.ts";
import { type DemoPair, type DemoPki, expiredBy, makeDemoPki } from "#test/support/pki.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";

export const PROTOCOL = "nbackup/1";

export interface NetPki {
  readonly dir: string;
  readonly server: TlsIdentity;
  readonly agent: TlsIdentity;
  /** Of our CA, ended. */
  readonly expiredServer: TlsIdentity;
  readonly expiredAgent: TlsIdentity;
  /** Both hold our CA, but were issued by another one of the same kind. */
  readonly strangeServer: TlsIdentity;
  readonly strangeAgent: TlsIdentity;
  /** The other CA. */
  readonly strangeCaPem: string;
  readonly files: { readonly ca: string; readonly agent: DemoPair; readonly strangeAgent: DemoPair };
  remove(): void;
}

export async function makeNetPki(): Promise<NetPki> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-net-"));
  const ours = await makeDemoPki(path.join(dir, "ours"), { agents: ["web-1"] });
  const theirs = await makeDemoPki(path.join(dir, "theirs"), { agents: ["web-1"] });
  const expired = expiredBy(Date.now());
  const identity = (pair: DemoPair, ca: DemoPki = ours): TlsIdentity => ({
    caPem: fs.readFileSync(ca.caPath, "utf8"),
    certPem: fs.readFileSync(pair.certPath, "utf8"),
    keyPem: fs.readFileSync(pair.keyPath, "utf8"),
  });
  return {
    dir,
    server: identity(ours.server),
    agent: identity(ours.agent("web-1")),
    expiredServer: identity(await ours.addServer("expired-server", ["127.0.0.1"], expired)),
    expiredAgent: identity(await ours.addAgent("expired-1", expired)),
    strangeServer: identity(theirs.server),
    strangeAgent: identity(theirs.agent("web-1")),
    strangeCaPem: fs.readFileSync(theirs.caPath, "utf8"),
    files: { ca: ours.caPath, agent: ours.agent("web-1"), strangeAgent: theirs.agent("web-1") },
    remove: () => fs.rmSync(dir, { recursive: true, force: true }),
  };
}

/** One end of a connection with all that it saw. `until` waits for it to have seen something. */
export class NetEnd {
  readonly connection: Connection;
  readonly hash = new Bun.CryptoHasher("sha256");
  bytes = 0;
  /** The first kilobyte, as text. */
  text = "";
  drains = 0;
  closedCount = 0;
  failure: Failure | undefined;
  onData: ((bytes: Uint8Array) => void) | undefined;
  onDrain: (() => void) | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(connection: Connection) {
    this.connection = connection;
    connection.attach({
      data: (bytes) => {
        this.bytes += bytes.length;
        this.hash.update(bytes);
        if (this.text.length < 1024) this.text += Buffer.from(bytes.subarray(0, 1024)).toString();
        this.onData?.(bytes);
        this.#look();
      },
      drain: () => {
        this.drains += 1;
        this.onDrain?.();
        this.#look();
      },
      closed: (failure) => {
        this.closedCount += 1;
        this.failure = failure;
        this.#look();
      },
    });
  }

  write(text: string): number {
    return this.connection.write(Buffer.from(text));
  }

  until(seen: (end: this) => boolean): Promise<void> {
    if (seen(this)) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (!seen(this)) return;
      this.#waiting.delete(look);
      resolve();
    };
    this.#waiting.add(look);
    return promise;
  }

  closed(): Promise<void> {
    return this.until((end) => end.closedCount > 0);
  }

  #look(): void {
    for (const look of [...this.#waiting]) look();
  }
}

/** A listener that keeps its connections in order of arrival. */
export class NetServer {
  readonly listener: TlsListener;
  readonly log = memoryLogger();
  readonly accepted: NetEnd[] = [];
  readonly #waiting: ((end: NetEnd) => void)[] = [];

  constructor(identity: TlsIdentity, options: Partial<TlsListenOptions> = {}) {
    this.listener = listenTls({
      address: { host: "127.0.0.1", port: 0 },
      protocol: PROTOCOL,
      handshakeTimeoutMs: 10_000,
      clock: systemClock,
      log: this.log,
      identity,
      accept: (connection) => {
        const end = new NetEnd(connection);
        this.accepted.push(end);
        this.#waiting.shift()?.(end);
      },
      ...options,
    });
  }

  get port(): number {
    return this.listener.port;
  }

  /** The next connection that is accepted. */
  next(): Promise<NetEnd> {
    const { promise, resolve } = Promise.withResolvers<NetEnd>();
    this.#waiting.push(resolve);
    return promise;
  }

  dialer(identity: TlsIdentity, options: Partial<TlsDialerOptions> = {}): TlsDialer {
    return dialerTo(this.port, identity, options);
  }

  /** Both ends of a new connection. */
  async connect(
    identity: TlsIdentity,
    options: Partial<TlsDialerOptions> = {},
  ): Promise<{ client: NetEnd; server: NetEnd }> {
    const next = this.next();
    const client = new NetEnd(await this.dialer(identity, options).dial());
    return { client, server: await next };
  }

  stop(): void {
    this.listener.stop();
    for (const end of this.accepted) end.connection.destroy();
  }
}

export function dialerTo(port: number, identity: TlsIdentity, options: Partial<TlsDialerOptions> = {}): TlsDialer {
  return new TlsDialer({
    address: { host: "127.0.0.1", port },
    identity: () => identity,
    protocol: PROTOCOL,
    timeoutMs: 10_000,
    clock: systemClock,
    ...options,
  });
}

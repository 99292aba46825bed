/** What goes wrong with the server's disk: single calls that fail, times in which it is full, slow, read-only or gone, spoiled bytes. */
import { diskError, type DiskEvent } from "#test/support/memory-file.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import type { Chance } from "./chance.ts";
import { Countdown } from "./countdown.ts";
import type { SimOptions } from "./options.ts";
import { BASE_DIR, DISK_BYTES, type ServerHost } from "./server-host.ts";
import type { Spoils } from "./spoils.ts";
import { storedFile } from "./stored-chunks.ts";
import type { Trace } from "./trace.ts";

const CHANGING: ReadonlySet<string> = new Set([
  ...["create", "mkdir", "rmdir", "link", "rename", "unlink", "chown", "chmod", "lock", "write", "truncate"],
]);
/** Where errors of a bad sector come from. A close is left out: what fails there was said by a sync before. */
const FALLIBLE: ReadonlySet<string> = new Set([
  ...["create", "open", "mkdir", "rmdir", "link", "rename", "unlink", "readdir", "lstat", "space"],
  ...["write", "read", "truncate"],
]);
const SYNCS: ReadonlySet<string> = new Set(["fdatasync", "syncDirectory", "syncFilesystem"]);
/** On files that are open already, which a directory that is gone does not disturb. */
const OF_FILES: ReadonlySet<string> = new Set([
  ...["write", "read", "fdatasync", "size", "truncate", "chmod", "close", "syncFilesystem"],
]);

export interface DiskFaultOptions {
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly options: SimOptions;
  readonly spoils: Spoils;
  readonly server: () => ServerHost;
}

export class DiskFaults {
  readonly #options: DiskFaultOptions;
  readonly #chance: Chance;
  readonly #eio: Countdown;
  readonly #failedSync: Countdown;
  readonly #spoiled: Countdown;
  /** Sessions with a call on their files that failed: not all of them may have been removed. */
  readonly disturbed = new Set<string>();
  #healed = false;
  #stalledUntilMs = 0;
  #fullUntilMs = 0;
  #readOnlyUntilMs = 0;
  #vanished: { readonly untilMs: number; readonly code: "ENOENT" | "ESTALE" } | undefined;

  constructor(options: DiskFaultOptions) {
    this.#options = options;
    this.#chance = options.chance;
    const { faults } = options.options;
    this.#eio = new Countdown(options.chance.fork("eio"), faults.eioCalls);
    this.#failedSync = new Countdown(options.chance.fork("sync"), faults.failedSyncs);
    this.#spoiled = new Countdown(options.chance.fork("spoil"), faults.spoiledWrites);
  }

  /** Others have the rest of the disk from the start. */
  begin(): void {
    this.#occupy();
  }

  full(): void {
    this.#fullUntilMs = this.#until(30_000);
    this.#occupy();
    this.#options.clock.after(this.#fullUntilMs - this.#options.clock.now(), () => this.#occupy());
  }

  stall(): void {
    this.#stalledUntilMs = this.#until(3_000);
  }

  readOnly(): void {
    this.#readOnlyUntilMs = this.#until(30_000);
  }

  vanish(): void {
    this.#vanished = { untilMs: this.#until(30_000), code: this.#chance.pick(["ENOENT", "ESTALE"]) };
  }

  heal(): void {
    this.#healed = true;
    this.#fullUntilMs = 0;
    this.#occupy();
  }

  /** The server's disk is another object after each end of its process. */
  moved(): void {
    this.#occupy();
  }

  /** Before a call: delays it, or throws what it fails with. */
  async before(event: DiskEvent): Promise<void> {
    const { clock, options } = this.#options;
    const delayMs = options.disk.delayMs * this.#chance.unit();
    const untilMs = Math.max(this.#healed ? 0 : this.#stalledUntilMs, clock.now() + delayMs);
    if (untilMs > clock.now()) await new Promise<void>((resolve) => clock.after(untilMs - clock.now(), resolve));
    if (!this.#healed) this.#fail(event);
  }

  #fail({ call, path }: DiskEvent): void {
    const { clock, trace } = this.#options;
    const now = clock.now();
    const failure = (code: string): Error => {
      const session = /\/sessions\/([^/]+)/.exec(path)?.[1];
      if (session !== undefined) this.disturbed.add(session);
      trace.note(`disk ${call} ${code}`);
      return diskError(code, path);
    };
    if (!path.startsWith(BASE_DIR)) return;
    const vanished = this.#vanished;
    if (vanished !== undefined && vanished.untilMs > now && call !== "close") {
      if (vanished.code === "ESTALE" || !OF_FILES.has(call)) throw failure(vanished.code);
    }
    if (this.#readOnlyUntilMs > now && CHANGING.has(call)) throw failure("EROFS");
    if (this.#fullUntilMs > now && ["create", "mkdir", "link"].includes(call)) throw failure("ENOSPC");
    if (SYNCS.has(call) && this.#failedSync.hits(1)) {
      trace.count("fault failedSyncs");
      throw failure("EIO");
    }
    if (FALLIBLE.has(call) && this.#eio.hits(1)) {
      trace.count("fault eioCalls");
      throw failure("EIO");
    }
    if (call === "write" && this.#spoiled.hits(1)) this.#spoil();
  }

  /** Changes a byte of a part file or of a staged chunk that no sync has reached. */
  #spoil(): void {
    const { server, spoils, trace } = this.#options;
    const stored = server()
      .disk.unsynced(`${BASE_DIR}/.nbackup/sessions`)
      .filter(({ path }) => storedFile(path) !== undefined);
    const { path, node } = this.#chance.some(stored) ?? {};
    const range = this.#chance.some(node?.dirty ?? []);
    if (path === undefined || node === undefined || range === undefined || range.length === 0) return;
    const offset = range.offset + this.#chance.int(0, range.length - 1);
    const mask = 1 << this.#chance.int(0, 7);
    // A file may have been cut shorter since that was written.
    if (offset >= node.length || !spoils.add(path, offset, mask)) return;
    node.bytes[offset] = (node.bytes[offset] ?? 0) ^ mask;
    trace.count("fault spoiledWrites");
    trace.note(`spoiled: byte ${offset} of ${path}`);
    if (storedFile(path)?.sequence !== undefined) trace.count("state chunk.spoiled-staged");
  }

  #until(longestMs: number): number {
    return this.#options.clock.now() + this.#chance.scale(longestMs / 100, longestMs);
  }

  #occupy(): void {
    const { server, options, clock } = this.#options;
    const { disk } = server();
    const { roomBytes } = options.disk;
    if (!this.#healed && this.#fullUntilMs > clock.now()) disk.foreignBytes = DISK_BYTES - disk.usedBytes;
    else disk.foreignBytes = this.#healed || roomBytes === undefined ? 0 : DISK_BYTES - roomBytes;
  }
}

/**
 * Tells systemd how the service is: ready, reloading, stopping, alive. One datagram each to the socket that NOTIFY_SOCKET names,
 * by FFI, because Bun has no Unix datagrams. Where nobody listens every call does nothing. What the states mean is
 * the caller's.
 */
import { dlopen, FFIType } from "bun:ffi";
import type { Clock, Timer } from "#base/clock.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of sockaddr_un. */
const PATH_BYTES_MAX = 108;

/** How long systemd waits for the next word of a service that stops. */
const EXTENSION_MS = 30_000;

export type ServiceEnvironment = Readonly<Record<string, string | undefined>>;

export interface ServiceManagerOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read of it. */
  readonly env: ServiceEnvironment;
  readonly pid: number;
  readonly clock: Clock;
}

export class ServiceManager {
  readonly #address: Uint8Array | undefined;
  readonly #clock: Clock;
  readonly #watchdogMs: number | undefined;
  #timer: Timer | undefined;
  #extension: Timer | undefined;

  constructor({ env, pid, clock }: ServiceManagerOptions) {
    this.#address = socketAddress(env["NOTIFY_SOCKET"] ?? "");
    this.#clock = clock;
    this.#watchdogMs = watchdogPeriodMs(env, pid);
  }

  /** Started, or done with reloading. From the first time on the watchdog is kept quiet. */
  ready(status: string): void {
    this.#send([`READY=1`, statusLine(status)]);
    if (this.#watchdogMs !== undefined && this.#timer === undefined) this.#feed(this.#watchdogMs);
  }

  /** A sentence for `systemctl status`. */
  status(text: string): void {
    this.#send([statusLine(text)]);
  }

  /** `ready` must follow. */
  reloading(): void {
    // systemd wants to know when, on the clock that it has.
    this.#send(["RELOADING=1", `MONOTONIC_USEC=${Math.floor(monotonicUsec())}`]);
  }

  stopping(): void {
    this.#send(["STOPPING=1"]);
  }

  /** A stop takes its time: systemd is asked for more of it, again and again until `close`, with a sentence on what is waited for. */
  extend(text: () => string): void {
    this.#send([`EXTEND_TIMEOUT_USEC=${EXTENSION_MS * 1000}`, statusLine(text())]);
    this.#extension = this.#clock.after(EXTENSION_MS / 3, () => this.extend(text));
  }

  /** No more is said by itself. */
  close(): void {
    this.#timer?.cancel();
    this.#extension?.cancel();
  }

  /** By a timer of the event loop: one that hangs is what the watchdog is for. */
  #feed(periodMs: number): void {
    this.#send(["WATCHDOG=1"]);
    this.#timer = this.#clock.after(periodMs, () => this.#feed(periodMs));
  }

  #send(lines: readonly string[]): void {
    if (this.#address !== undefined) sendDatagram(this.#address, Buffer.from(lines.join("\n")));
  }
}

/** Half of what systemd allows; undefined when it does not watch this process. */
function watchdogPeriodMs(env: ServiceEnvironment, pid: number): number | undefined {
  const usec = Number(env["WATCHDOG_USEC"] ?? "");
  const watched = env["WATCHDOG_PID"] ?? "";
  if (!Number.isSafeInteger(usec) || usec <= 0 || (watched !== "" && Number(watched) !== pid)) return undefined;
  return usec / 2000;
}

/** A sockaddr_un of a path, or of an abstract name (`@name`); undefined for anything else. */
function socketAddress(name: string): Uint8Array | undefined {
  const abstract = name.startsWith("@");
  if (!abstract && !name.startsWith("/")) return undefined;
  const path = Buffer.from(abstract ? `\0${name.slice(1)}` : `${name}\0`);
  if (path.length > PATH_BYTES_MAX) return undefined;
  const address = Buffer.alloc(2 + path.length);
  address.writeUInt16LE(AF_UNIX, 0);
  path.copy(address, 2);
  return address;
}

function statusLine(text: string): string {
  return `STATUS=${text.replaceAll("\n", " ")}`;
}

function open() {
  return dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    sendto: { args: ["i32", "buffer", "u64", "i32", "buffer", "u32"], returns: FFIType.i64_fast },
    close: { args: ["i32"], returns: "i32" },
    clock_gettime: { args: ["i32", "buffer"], returns: "i32" },
  }).symbols;
}

let libc: ReturnType<typeof open> | undefined;

/** Whether it arrives is nobody's problem: systemd notices what it does not hear. */
function sendDatagram(address: Uint8Array, bytes: Uint8Array): void {
  libc ??= open();
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  libc.sendto(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
  libc.close(fd);
}

const CLOCK_MONOTONIC = 1;

/** Not performance.now, which counts from the start of the process. */
function monotonicUsec(): number {
  libc ??= open();
  const time = new BigInt64Array(2);
  libc.clock_gettime(CLOCK_MONOTONIC, time);
  return Number(time[0] ?? 0n) * 1e6 + Number(time[1] ?? 0n) / 1000;
}

/**
 * What the kernel should do with our sockets, by setsockopt on their descriptors, because Bun offers only some of it.
 * Numbers are Linux's, the same on amd64 and arm64. It opens and closes nothing.
 */
import { dlopen } from "bun:ffi";
import { KiB } from "#base/units.ts";

const IPPROTO_IP = 0;
const SOL_SOCKET = 1;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;
const SO_KEEPALIVE = 9;
const IP_TOS = 1;
const IPV6_TCLASS = 67;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_NOTSENT_LOWAT = 25;

/**
 * Unsent bytes that the kernel takes before it says "full". Without it one slow stream hoards several megabytes in its
 * socket buffer, which no other stream can carry and no acknowledgement covers. It does not limit what is on its way:
 * sent and not yet acknowledged bytes do not count, so a fast link far away is filled all the same.
 */
export const UNSENT_BYTES_MAX = 256 * KiB;

/**
 * A peer that vanished without a word is found by the heartbeats above. Keep-alive is for the one case in which those
 * do not count: this side is not reading because its disk is behind. Then after 30 s of silence and 6 probes.
 *
 * TCP_USER_TIMEOUT is left alone: it would also close a connection whose peer is well but does not read for long, and a
 * blocked write alone is no reason to close.
 */
const KEEP_ALIVE_IDLE_SECONDS = 30;
const KEEP_ALIVE_INTERVAL_SECONDS = 10;
const KEEP_ALIVE_PROBES = 6;

type SetOption = (fd: number, level: number, option: number, value: number) => boolean;

let setOption: SetOption | undefined;

/** Opened at the first connection: a command that makes none does not pay for it. */
function setter(): SetOption {
  if (setOption !== undefined) return setOption;
  const library = dlopen("libc.so.6", {
    setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
  });
  const value = new Int32Array(1);
  setOption = (fd, level, option, number) => {
    value[0] = number;
    return library.symbols.setsockopt(fd, level, option, value, value.byteLength) === 0;
  };
  return setOption;
}

/** `dscp` 0 to 63 marks every packet sent; both families are tried, because one of them fits the socket. */
export interface StreamSocketOptions {
  readonly dscp?: number | undefined;
}

/**
 * Sets what every connection of ours wants on the descriptor `fd`. False when the kernel refused an option: the
 * connection works all the same, only less well. A descriptor below 0 is of a socket that is closed already.
 */
export function tuneSocket(fd: number, options: StreamSocketOptions = {}): boolean {
  if (fd < 0) return false;
  const set = setter();
  const results = [
    set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX),
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1),
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1),
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_IDLE_SECONDS),
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_SECONDS),
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVE_PROBES),
  ];
  if (options.dscp !== undefined) results.push(markSocket(fd, options.dscp));
  return results.every((done) => done);
}

/** The six bits of `dscp` stand above the two of congestion notification. */
function markSocket(fd: number, dscp: number): boolean {
  const set = setter();
  const v4 = set(fd, IPPROTO_IP, IP_TOS, dscp << 2);
  const v6 = set(fd, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2);
  return v4 || v6;
}

/** The descriptor of a Bun socket, which its types do not name; -1 when it has none any more. */
export function socketDescriptor(socket: object): number {
  return "fd" in socket && typeof socket.fd === "number" ? socket.fd : -1;
}

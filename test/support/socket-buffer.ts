/**
 * Holds what the kernel keeps of a connection for a program that does not read: without it the loopback interface takes
 * megabytes, and a connection that is throttled behind it stays slow for long after its sender has stopped.
 */
import { dlopen } from "bun:ffi";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;

/** Of a socket of Bun's; the kernel takes twice the number. */
export function limitReceiveBuffer(socket: object, bytes: number): void {
  const fd = "fd" in socket && typeof socket.fd === "number" ? socket.fd : -1;
  const library = dlopen("libc.so.6", {
    setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
  });
  const value = Int32Array.of(bytes);
  const done = library.symbols.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, value, value.byteLength) === 0;
  library.close();
  if (!done) throw new Error(`the receive buffer of descriptor ${fd} could not be set`);
}

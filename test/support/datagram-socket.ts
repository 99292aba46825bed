/** A Unix datagram socket that keeps what arrives, as systemd's notification socket does. By FFI: Bun has none. */
import { dlopen, FFIType } from "bun:ffi";

const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK = 2 | 0x800;
const BYTES_MAX = 4096;

const libc = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "buffer", "u32"], returns: "i32" },
  recv: { args: ["i32", "buffer", "u64", "i32"], returns: FFIType.i64_fast },
  close: { args: ["i32"], returns: "i32" },
}).symbols;

export class DatagramSocket {
  readonly #fd: number;

  /** A path, or `@name` for an abstract one. */
  constructor(name: string) {
    const path = Buffer.from(name.startsWith("@") ? `\0${name.slice(1)}` : `${name}\0`);
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), path]);
    this.#fd = libc.socket(AF_UNIX, SOCK_DGRAM_NONBLOCK, 0);
    if (libc.bind(this.#fd, address, address.length) !== 0) throw new Error(`${name} cannot be bound`);
  }

  /** What has arrived since the last call. */
  received(): string[] {
    const messages: string[] = [];
    const buffer = Buffer.alloc(BYTES_MAX);
    for (;;) {
      const length = Number(libc.recv(this.#fd, buffer, buffer.length, 0));
      if (length < 0) return messages;
      messages.push(buffer.toString("utf8", 0, length));
    }
  }

  close(): void {
    libc.close(this.#fd);
  }
}

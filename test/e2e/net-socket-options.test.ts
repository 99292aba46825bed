/** The options are really set: they are read back from the kernel. */
import { dlopen } from "bun:ffi";
import { afterAll, expect, test } from "bun:test";
import { socketDescriptor, tuneSocket, UNSENT_BYTES_MAX } from "#net/socket-options.ts";

const libc = dlopen("libc.so.6", {
  getsockopt: { args: ["i32", "i32", "i32", "buffer", "buffer"], returns: "i32" },
});

function read(fd: number, level: number, option: number): number {
  const value = new Int32Array(1);
  expect(libc.symbols.getsockopt(fd, level, option, value, new Uint32Array([value.byteLength]))).toBe(0);
  return value[0] ?? -1;
}

const cleanups: (() => void)[] = [];
afterAll(() => {
  for (const cleanup of cleanups) cleanup();
});

async function plainSocket(host: string): Promise<object> {
  const handlers = { open: () => undefined, data: () => undefined };
  const listener = Bun.listen({ hostname: host, port: 0, socket: handlers });
  const socket = await Bun.connect({ hostname: host, port: listener.port, socket: handlers });
  cleanups.push(() => {
    socket.terminate();
    listener.stop(true);
  });
  return socket;
}

for (const [host, level, option] of [
  ["127.0.0.1", 0, 1],
  ["::1", 41, 67],
  // An IPv4 address in a socket of IPv6.
  ["::ffff:127.0.0.1", 0, 1],
] as const) {
  test(`a socket of ${host} holds little unsent, sends at once, is kept alive, and carries its DSCP`, async () => {
    const fd = socketDescriptor(await plainSocket(host));
    expect(tuneSocket(fd, { dscp: 34 })).toBe(true);
    expect(read(fd, 6, 25)).toBe(UNSENT_BYTES_MAX);
    expect(read(fd, 6, 1)).toBe(1);
    expect([read(fd, 1, 9), read(fd, 6, 4), read(fd, 6, 5), read(fd, 6, 6)]).toEqual([1, 30, 10, 6]);
    // No limit on how long a peer may leave bytes unread.
    expect(read(fd, 6, 18)).toBe(0);
    // AF41 is 34, above two bits that belong to congestion notification.
    expect(read(fd, level, option) & 0xfc).toBe(34 << 2);
  });
}

test("a socket without a descriptor is left alone", () => {
  expect(socketDescriptor({})).toBe(-1);
  expect(tuneSocket(-1)).toBe(false);
});

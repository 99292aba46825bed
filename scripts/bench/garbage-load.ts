/**
 * A crowd of strangers, as a process of its own: connections that send garbage at a steady rate and come again when they
 * are thrown out, and full TLS handshakes, half of them with a good certificate and half with none, which go on with garbage
 * as well. Arguments: port, files of CA, certificate and key. Prints `ready` when the crowd is there, and on SIGTERM what it
 * did, as one line of JSON.
 */
import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";

const HOST = "127.0.0.1";
const CONNECTIONS = 200;
const BYTES_PER_SECOND = 50_000;
const HANDSHAKES_PER_SECOND = 20;
const PORTIONS_PER_SECOND = 10;
const PORTION_BYTES = BYTES_PER_SECOND / PORTIONS_PER_SECOND;
/** The header of the longest TLS record, of a handshake: what follows is waited for. */
const TLS_RECORD = Uint8Array.of(0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc, 0x03, 0x03);

export interface LoadReport {
  readonly seconds: number;
  /** Plain connections that were opened, again and again. */
  readonly connections: number;
  readonly handshakes: number;
  /** Connections that did not come about. */
  readonly refused: number;
  readonly bytes: number;
}

/** Set when the crowd goes: who is still on the way turns round at the door. */
let leaving = false;
const totals = { connections: 0, handshakes: 0, refused: 0, bytes: 0 };
const noise = randomFillSync(new Uint8Array(1024 * 1024));
let noiseAt = 0;

function garbage(): Uint8Array<ArrayBuffer> {
  noiseAt = (noiseAt + 4099) % (noise.length - PORTION_BYTES);
  return noise.subarray(noiseAt, noiseAt + PORTION_BYTES);
}

/** One place in the crowd: a connection that is opened again when it was closed. */
class Stranger {
  readonly #port: number;
  readonly #beginning: Uint8Array<ArrayBuffer>;
  #socket: Bun.Socket<undefined> | undefined;
  #opening = false;

  constructor(port: number, beginning: Uint8Array<ArrayBuffer>) {
    this.#port = port;
    this.#beginning = beginning;
  }

  /** Sends the next portion, or connects again. */
  tick(): void {
    if (this.#socket !== undefined) totals.bytes += Math.max(0, this.#socket.write(garbage()));
    else if (!this.#opening) void this.#open();
  }

  leave(): void {
    this.#socket?.terminate();
  }

  async #open(): Promise<void> {
    this.#opening = true;
    totals.connections += 1;
    const gone = (): void => {
      this.#socket = undefined;
    };
    try {
      await Bun.connect<undefined>({
        hostname: HOST,
        port: this.#port,
        socket: {
          open: (socket) => {
            if (leaving) {
              socket.terminate();
              return;
            }
            this.#socket = socket;
            // Thrown out or not, it sends as much as it is meant to.
            totals.bytes += Math.max(0, socket.write(Buffer.concat([this.#beginning, garbage()])));
          },
          data: () => undefined,
          close: gone,
          error: gone,
        },
      });
    } catch {
      // The next tick tries again.
      totals.refused += 1;
      gone();
    }
    this.#opening = false;
  }
}

/** A full handshake, then garbage until it is thrown out. */
async function shakeHands(port: number, tls: Bun.TLSOptions, speakers: Set<Bun.Socket<undefined>>): Promise<void> {
  try {
    const socket = await Bun.connect<undefined>({
      hostname: HOST,
      port,
      tls,
      socket: {
        handshake: (one) => {
          totals.handshakes += 1;
          if (leaving) one.terminate();
          else speakers.add(one);
        },
        data: () => undefined,
        close: (one) => void speakers.delete(one),
        error: (one) => void speakers.delete(one),
      },
    });
    // The server must not need the other side's help to get rid of it, and the crowd must not grow without end.
    socket.timeout(30);
  } catch {
    totals.refused += 1;
  }
}

function main(): void {
  const [port = "", ca = "", cert = "", key = ""] = process.argv.slice(2);
  const startedAtMs = performance.now();
  const crowd = Array.from(
    { length: CONNECTIONS },
    (_, index) => new Stranger(Number(port), index % 2 === 0 ? new Uint8Array(0) : TLS_RECORD),
  );
  const speakers = new Set<Bun.Socket<undefined>>();
  const known: Bun.TLSOptions = {
    ca: readFileSync(ca, "utf8"),
    serverName: HOST,
    ALPNProtocols: Buffer.from("\x09nbackup/1"),
  };
  const tls = [known, { ...known, cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") }];
  let tick = 0;
  const talk = setInterval(
    () => {
      // A tenth of them in each portion's tenth: no two hundred writes in one moment.
      for (const [index, stranger] of crowd.entries()) if (index % 10 === tick % 10) stranger.tick();
      if (tick % 10 === 0) for (const speaker of speakers) totals.bytes += Math.max(0, speaker.write(garbage()));
      tick += 1;
    },
    1000 / PORTIONS_PER_SECOND / 10,
  );
  let handshake = 0;
  const arrivals = setInterval(() => {
    void shakeHands(Number(port), tls[handshake % tls.length] ?? known, speakers);
    handshake += 1;
  }, 1000 / HANDSHAKES_PER_SECOND);
  setTimeout(() => console.log("ready"), 1500);
  process.once("SIGTERM", () => {
    const report: LoadReport = { seconds: (performance.now() - startedAtMs) / 1000, ...totals };
    console.log(JSON.stringify(report));
    leaving = true;
    clearInterval(talk);
    clearInterval(arrivals);
    for (const stranger of crowd) stranger.leave();
    for (const speaker of speakers) speaker.terminate();
  });
}

main();

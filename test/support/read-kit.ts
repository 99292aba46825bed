/** Archives put into a storage in memory, and the real agent's stock that reads them over a network in memory. */
import type { ArchiveRow } from "#restore/archive-stock.ts";
import type { Failure } from "#base/errors.ts";
import { ReadStock } from "#agent/read-stock.ts";
import type { ReadLineOptions } from "#agent/read-line.ts";
import type { Dialer } from "#net/connection.ts";
import type { Message } from "#wire/messages.ts";
import { AGENT_IDENTITY } from "./agent-world.ts";
import type { MemoryDisk } from "./memory-disk.ts";
import { seededRandom } from "./seeded-random.ts";
import type { ScriptLink } from "./script-client.ts";
import { helloOf, type ScriptConnection, ServerWorld, type WorldOptions } from "./server-world.ts";
import type { SimClock } from "./sim-clock.ts";

const BASE_DIR = "/srv/backups";
export const ARCHIVE = "2026-02-12T02-00-00-123Z.tar.gz";
export const INDEX = "2026-02-12T02-00-00-123Z.idx";

/** Bytes that are different everywhere. */
export function someBytes(length: number, seed = 1): Uint8Array {
  const random = seededRandom(seed).bytes(997);
  return Uint8Array.from({ length }, (_, at) => (random[at % 997] ?? 0) ^ (at >>> 8) ^ (at >>> 16));
}

/** As somebody does who copies archives into place: `path` is relative to the storage. */
export async function plant(disk: MemoryDisk, path: string, bytes: Uint8Array, baseDir = BASE_DIR): Promise<void> {
  const parts = path.split("/");
  for (let count = 1; count < parts.length; count += 1) {
    await disk.mkdir(`${baseDir}/${parts.slice(0, count).join("/")}`, 0o755).catch((error: unknown) => {
      if (!String(error).includes("EEXIST")) throw error;
    });
  }
  const file = await disk.create(`${baseDir}/${path}`, 0o640);
  await file.write(bytes, 0);
  await file.close();
}

/** An agent's stock over a dialer, and what it told about troubles. */
export function readStock(
  clock: SimClock,
  dialer: Dialer,
  options: Partial<ReadLineOptions> & { readonly agent?: string } = {},
): { readonly stock: ReadStock; readonly troubles: Failure[] } {
  const troubles: Failure[] = [];
  const { agent = AGENT_IDENTITY.agent, ...line } = options;
  const stock = new ReadStock({
    deps: { clock, random: seededRandom(5), dialer, identity: { ...AGENT_IDENTITY, agent } },
    backoff: { initialDelayMs: 1000, maxDelayMs: 300_000 },
    giveUpAfterMs: 3_600_000,
    signal: new AbortController().signal,
    onTrouble: (failure) => void troubles.push(failure),
    ...line,
  });
  return { stock, troubles };
}

/** A row as `list` would give it, of an archive that need not exist. */
export function rowOf(fields: Partial<ArchiveRow> = {}): ArchiveRow {
  return {
    ...{ storage: "main", agent: "web-1", backup: "home", name: ARCHIVE, timeMs: 0, archiveBytes: 0, hasIndex: true },
    ...{ entries: undefined, rawBytes: undefined, durationMs: undefined, problems: undefined, sha256: undefined },
    damage: undefined,
    ...fields,
  };
}

/** A read connection by script, welcomed. */
export async function readHello(world: ServerWorld, agent = "web-1"): Promise<ScriptConnection> {
  const connection = world.connect(agent);
  connection.link.send("hello", helloOf({ role: "read", agent }));
  await world.wait(connection.link.expect("welcome"));
  return connection;
}

export function openOf(fields: Partial<Message<"open">> = {}): Message<"open"> {
  return { request: 1, storage: "main", backup: "home", name: ARCHIVE, indexOnly: false, ...fields };
}

export function readOf(fields: Partial<Message<"read">> = {}): Message<"read"> {
  return { request: 2, open: 1, file: 0, offset: 0, length: 1000, ...fields };
}

/** Of a storage that nobody reads: its commit records. */
export const OWN_FILES = 1;
export const ARCHIVE_BYTES = someBytes(700_000);
export const INDEX_BYTES = someBytes(5000, 2);

/** A server with an archive of web-1, its index, and an archive of web-2. */
export async function plantedWorld(options: WorldOptions = {}): Promise<ServerWorld> {
  const world = await ServerWorld.start(options);
  await world.wait(plant(world.disk, `web-1/home/${ARCHIVE}`, ARCHIVE_BYTES));
  await world.wait(plant(world.disk, `web-1/home/${INDEX}`, INDEX_BYTES));
  await world.wait(plant(world.disk, `web-2/secret/${ARCHIVE}`, someBytes(1000, 3)));
  return world;
}

/** The bytes that answered a request. */
export function bytesOf(link: ScriptLink, request: number): Buffer {
  return Buffer.concat(link.bytes.filter((one) => one.request === request).map(({ payload }) => payload));
}

/** The next answer, which must be a failure. */
export async function failed(world: ServerWorld, link: ScriptLink): Promise<string> {
  const { code, message } = await world.wait(link.expect("failed"));
  return `${code}: ${message}`;
}

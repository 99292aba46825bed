/**
 * Runs one seed: faults for a while, then none, and everything must finish within a stated virtual time; then the server is
 * stopped, its machine loses power once more, and what is left must be what was promised. The result is a value.
 */
import { settle } from "#test/support/sim-clock.ts";
import type { SimOptions } from "./options.ts";
import { BASE_DIR } from "./server-host.ts";
import { World } from "./world.ts";

/** From the end of the faults until every agent has made a backup of every entry: what the longest waits add up to. */
const LIVENESS_MS = 900_000;
/** From the order to stop until the server is gone. */
const STOP_MS = 120_000;
/** Until the last timer of anybody has fired. */
const QUIET_MS = 600_000;

export interface SimReport {
  readonly seed: number;
  /** What was broken, or undefined. */
  readonly violation: string | undefined;
  /** Equal for two runs of one seed. */
  readonly hash: string;
  readonly counts: ReadonlyMap<string, number>;
  readonly sessions: number;
  /** Simulated. */
  readonly durationMs: number;
  /** Simulated, from the end of the faults until everything was done. */
  readonly recoveryMs: number;
  /** The last lines of the log. */
  readonly tail: string;
}

/** Runs a seed. `print` gets every line of its log. */
export async function runSeed(seed: number, options: SimOptions, print?: (line: string) => void): Promise<SimReport> {
  let stray: unknown;
  const onStray = (error: unknown): void => {
    stray ??= error;
  };
  process.on("unhandledRejection", onStray);
  const world = new World(seed, options, print);
  let recoveryMs = 0;
  try {
    recoveryMs = play(world, options);
  } catch (error) {
    world.witness.broken(`an error that nobody handled: ${error instanceof Error ? error.stack : String(error)}`);
  }
  // What was rejected and not handled is told when the turn is over.
  await settle();
  process.off("unhandledRejection", onStray);
  if (stray !== undefined)
    world.witness.broken(`a rejection that nobody handled: ${stray instanceof Error ? stray.stack : String(stray)}`);
  return {
    seed,
    violation: world.witness.violation,
    hash: world.trace.hash,
    counts: world.trace.counts,
    sessions: world.sessionCount,
    durationMs: world.clock.now(),
    recoveryMs,
    tail: world.trace.tail(),
  };
}

/** All in one turn of the event loop. */
function play(world: World, options: SimOptions): number {
  const { clock, witness, server } = world;
  const broken = (): boolean => witness.violation !== undefined;
  void world.begin();
  clock.run(() => broken() || world.isIdle, options.healAtMs);
  if (broken()) return 0;
  const healedAtMs = clock.now();
  world.heal();
  if (!clock.run(() => broken() || world.isDone, healedAtMs + LIVENESS_MS)) {
    witness.broken(`not everything was done ${LIVENESS_MS} ms after the faults had ended`);
  }
  if (broken()) return 0;
  const recoveryMs = clock.now() - healedAtMs;
  finish(world);
  if (!broken() && server.running === undefined) checkEnd(world, options);
  return recoveryMs;
}

/** Stop, loss of power, start, stop: as little as this may change. */
function finish(world: World): void {
  const { clock, witness, server, checks } = world;
  const broken = (): boolean => witness.violation !== undefined;
  // An upgrade may be under way, and would start its server behind the one below.
  const isUp = (): boolean => server.running?.ready === true && !server.running.stopping;
  clock.run(() => broken() || isUp(), clock.now() + STOP_MS);
  if (broken()) return;
  // They said goodbye, or were silent for too long.
  if (!clock.run(() => broken() || world.control.present.length === 0, clock.now() + STOP_MS))
    witness.broken(`${world.control.present.join(", ")} ended ${STOP_MS} ms ago and counts as connected`);
  if (broken()) return;
  const stop = (): void => {
    server.stop();
    if (!clock.run(() => broken() || server.running === undefined, clock.now() + STOP_MS))
      witness.broken(`the server did not stop within ${STOP_MS} ms`);
  };
  stop();
  if (broken()) return;
  server.powerOff();
  server.start();
  clock.run(() => broken() || server.running?.ready === true, clock.now() + STOP_MS);
  if (broken()) return;
  const verified = (): boolean => server.running?.server?.view().verifyingCount === 0;
  if (!clock.run(() => broken() || verified(), clock.now() + STOP_MS))
    witness.broken(`archives were not verified ${STOP_MS} ms after the last start`);
  if (broken()) return;
  checks.inspect({ bytes: true, settled: true });
  stop();
}

function checkEnd(world: World, options: SimOptions): void {
  const { clock, witness, server, network } = world;
  clock.run(() => witness.violation !== undefined, clock.now() + QUIET_MS);
  if (clock.pendingCount > 0) witness.broken(`${clock.pendingCount} timers are left`);
  const links = network.links();
  if (links.length > 0) witness.broken(`${links.length} connections are left, the first is ${links[0]?.number}`);
  const { disk } = server;
  for (const name of disk.names(`${BASE_DIR}/.nbackup/sessions`, "now")) {
    const session = witness.sessions.get(name);
    if (world.disturbed.has(name)) continue;
    if (session === undefined || session.ended !== undefined || session.committed)
      witness.broken(`session ${name} is over and has left files behind`);
  }
  for (const entry of new Set([...witness.sessions.values()].map((session) => session.entry))) {
    const names = disk.names(`${BASE_DIR}/${entry}`, "now");
    // One that its disk could not read once does not count, and goes when enough good ones are newer.
    const marked = (name: string): boolean => names.includes(`${name}.damaged`);
    const archives = names.filter((name) => /\.tar\.(gz|zst)$/.test(name) && !marked(name));
    if (archives.length > options.maxBackups)
      witness.broken(`${archives.length} archives of ${entry} are left, max_backups is ${options.maxBackups}`);
    if (archives.length === 0) witness.broken(`no good archive of ${entry} is left`);
  }
}

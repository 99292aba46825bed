/** Programs that a script starts and must not leave behind. */
import { Sentence } from "./run.ts";

const STOP_TIMEOUT_MS = 15_000;
const START_TIMEOUT_MS = 20_000;
const TRY_EVERY_MS = 50;

/** Only whether a connection comes about matters; what is said on it does not. */
const NO_TALK = {
  data(): void {
    // Dropped.
  },
};

export interface Background {
  readonly pid: number;
  /** Asks it to end, kills it when it does not in time, and resolves with its exit code. */
  stop(): Promise<number>;
}

/** A port of the loopback interface nobody listens on now. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: NO_TALK });
  const { port } = listener;
  listener.stop(true);
  return port;
}

async function accepts(port: number): Promise<boolean> {
  try {
    const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: NO_TALK });
    socket.end();
    return true;
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}

/** Starts a server with its output in `logFile` and resolves when it accepts connections on the loopback port. */
export async function startServer(command: readonly string[], port: number, logFile: string): Promise<Background> {
  const log = Bun.file(logFile);
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: log, stderr: log });
  const stop = async (): Promise<number> => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    const code = await child.exited;
    clearTimeout(timer);
    return code;
  };
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const said = (await log.text()).trim().split("\n").slice(-5).join("\n");
      throw new Sentence(`${command[0] ?? ""} ended with ${await child.exited} instead of serving:\n${said}`);
    }
    if (performance.now() > deadline) {
      await stop();
      throw new Sentence(`${command[0] ?? ""} does not accept connections on port ${port}; its log is ${logFile}.`);
    }
    await Bun.sleep(TRY_EVERY_MS);
  }
  return { pid: child.pid, stop };
}

/** The compiled server under test: started, watched, killed and started again on the same port. */
import { WatchedProcess } from "#test/support/watched-process.ts";

export interface ServerProcessOptions {
  readonly executable: string;
  readonly configFile: string;
  readonly port: number;
  readonly cwd: string;
  readonly env?: Record<string, string>;
}

const START_TIMEOUT_MS = 20_000;
/** The line that says it serves, with JSON or text logs. */
const SERVES = /listening/i;

export class ServerProcess extends WatchedProcess {
  readonly port: number;
  readonly configFile: string;

  private constructor(options: ServerProcessOptions) {
    super([options.executable, "--config", options.configFile], {
      cwd: options.cwd,
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    this.port = options.port;
    this.configFile = options.configFile;
  }

  /** Resolves when it takes connections. */
  static async start(options: ServerProcessOptions): Promise<ServerProcess> {
    const server = new ServerProcess(options);
    await server.printed(SERVES, START_TIMEOUT_MS);
    return server;
  }

  /** Lines of its JSON log that have this event. */
  events(kind: string): readonly Record<string, unknown>[] {
    return this.output
      .split("\n")
      .filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line["event"] === kind);
  }

  /** Resolves with the first line of that event. */
  async event(kind: string, withinMs?: number): Promise<RegExpExecArray> {
    return await this.printed(new RegExp(`"event":"${kind.replaceAll(".", "\\.")}".*`), withinMs);
  }
}

/** Commands that ask a running server: status, sessions, agents, run, history, events, abort, orders and prune. Prune works without one too. */
import { Failure, toFailure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { failureLines } from "#cli/failure-text.ts";
import type { AskCommand } from "#cli/server-command.ts";
import { agentsText } from "#cli/agents-report.ts";
import { maintenanceText, rotatedText, slotOrderText } from "#cli/order-commands.ts";
import { eventsText, historyText, pruneText, sessionsText, statusText } from "#cli/server-report.ts";
import type { ServerConfig, StorageConfig } from "#config/types.ts";
import { createLogger } from "#observe/log.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { AgentView } from "#observe/agent-views.ts";
import type {
  AbortView,
  MaintenanceAnswer,
  PrunedView,
  PruneFailure,
  PruneView,
  RotateView,
  ServerStatus,
  SessionsView,
  SlotOrderView,
  StartedView,
} from "#observe/views.ts";
import { pruneFailure, prunedView } from "#server/admin.ts";
import type { SpawnDiskWorker } from "#store/disk-thread.ts";
import { LinuxDisk } from "#store/linux-disk.ts";
import { pruneAlone } from "#store/prune.ts";
import { askServer } from "./control.ts";
import { systemClock } from "./system.ts";

export interface CommandRuntime {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly privileged: boolean;
  readonly spawnThread: SpawnDiskWorker;
}

/** The exit status. Rejects with Failure E_NOT_RUNNING and what the server answers. */
export async function runServerCommand(
  command: AskCommand,
  config: ServerConfig,
  out: CommandRuntime,
): Promise<number> {
  const { stateDir } = config.server;
  const print = (values: readonly unknown[], text: () => string): number => {
    out.stdout(command.json ? values.map((value) => `${JSON.stringify(value)}\n`).join("") : text());
    return EXIT.done;
  };
  // Both sides are of the same version (control.ts): the answers are what the server's types say.
  switch (command.command) {
    case "status": {
      const status = (await askServer(stateDir, { command: "status" })) as ServerStatus;
      return print([status], () => statusText(status, systemClock.wall()));
    }
    case "sessions": {
      const sessions = (await askServer(stateDir, { command: "sessions" })) as SessionsView;
      const waiting = sessions.waiting.map((one) => ({ session: null, state: "queued", ...one }));
      return print([...sessions.running, ...waiting], () => sessionsText(sessions));
    }
    case "history": {
      const { limit, agent } = command;
      const request = { command: "history", limit, ...(agent === undefined ? {} : { agent }) } as const;
      const records = (await askServer(stateDir, request)) as SessionRecord[];
      return print(records, () => historyText(records, agent));
    }
    case "events": {
      const records = (await askServer(stateDir, { command: "events", limit: command.limit })) as EventRecord[];
      return print(records, () => eventsText(records));
    }
    case "agents": {
      const agents = (await askServer(stateDir, { command: "agents" })) as AgentView[];
      return print(agents, () => agentsText(agents, systemClock.wall()));
    }
    case "run": {
      const { agent, backup } = command;
      const started = (await askServer(stateDir, { command: "run", agent, backup })) as StartedView;
      return print([started], () => `${agent}: ${safeText(started.message)}\n`);
    }
    case "abort": {
      const view = (await askServer(stateDir, { command: "abort", session: command.session })) as AbortView;
      const aborted = view.outcome === "aborted";
      print([view], () => (aborted ? "aborted\n" : "not aborted: the commit had begun, and stands\n"));
      return aborted ? EXIT.done : EXIT.failed;
    }
    case "rotate-stream": {
      const { session, slot } = command;
      const view = (await askServer(stateDir, { command: "rotate-stream", session, slot })) as RotateView;
      return print([view], () => rotatedText(view));
    }
    case "park-stream":
    case "resume-stream": {
      const { session, slot } = command;
      const view = (await askServer(stateDir, { command: command.command, session, slot })) as SlotOrderView;
      return print([view], () => slotOrderText(view));
    }
    case "maintenance": {
      const { turn, reason, abort } = command;
      const request = { command: "maintenance", turn, abort, ...(reason === undefined ? {} : { reason }) } as const;
      const answer = (await askServer(stateDir, request)) as MaintenanceAnswer;
      return print([answer], () => maintenanceText(answer, systemClock.wall()));
    }
    case "prune": {
      const view = await prune(command, config, out);
      print([view], () => pruneText(view));
      for (const failure of view.failures) out.stderr(failureLines(failure));
      const refused = view.failures.length > 0 || view.entries.some(({ stuck }) => stuck.length > 0);
      return refused ? EXIT.failed : EXIT.done;
    }
  }
}

type PruneCommand = Extract<AskCommand, { readonly command: "prune" }>;

/** By the server that runs, else by this process. */
async function prune(command: PruneCommand, config: ServerConfig, out: CommandRuntime): Promise<PruneView> {
  const { agent, backup, dryRun } = command;
  const selected = config.storages.filter(({ name }) => command.storage === undefined || command.storage === name);
  if (selected.length === 0) {
    throw new Failure("E_STORAGE_UNKNOWN", `storage ${command.storage ?? ""} is not known here`, {
      hint: `Name a storage of the configuration: ${config.storages.map(({ name }) => name).join(", ")}.`,
    });
  }
  const storages = selected.map(({ name, baseDir, maxBackups, minAgeMs }) => ({ name, baseDir, maxBackups, minAgeMs }));
  const selection = { ...(agent === undefined ? {} : { agent }), ...(backup === undefined ? {} : { backup }) };
  try {
    return (await askServer(config.server.stateDir, { command: "prune", storages, dryRun, ...selection })) as PruneView;
  } catch (error) {
    if (toFailure(error).code !== "E_NOT_RUNNING") throw error;
    return await pruneWithoutServer(command, selected, out);
  }
}

async function pruneWithoutServer(
  { agent, backup, dryRun }: PruneCommand,
  storages: readonly StorageConfig[],
  out: CommandRuntime,
): Promise<PruneView> {
  const disk = new LinuxDisk({ privileged: out.privileged, spawnThread: out.spawnThread });
  // Removals are in the answer; what goes wrong is told as well.
  const log = createLogger({ level: "warn", format: "text", sink: { write: out.stderr }, clock: systemClock });
  const view = { dryRun, entries: [] as PrunedView[], failures: [] as PruneFailure[] };
  for (const { name, baseDir, maxBackups, minAgeMs } of storages) {
    const options = { name, baseDir, rule: { maxBackups, minAgeMs }, dryRun, disk, log, nowWallMs: systemClock.wall() };
    try {
      await pruneAlone(options, { agent, backup }, (entry) => view.entries.push(prunedView(name, entry)));
    } catch (error) {
      view.failures.push(pruneFailure(name, error));
    }
  }
  return view;
}

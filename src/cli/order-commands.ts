/** Commands with which an administrator steers a running server: rotate-stream, park-stream, resume-stream, maintenance. */
import { formatDuration } from "#base/units.ts";
import { safeText } from "#base/safe-text.ts";
import type { MaintenanceAnswer, MaintenanceView, RotateView, SlotOrderView } from "#observe/views.ts";
import { type ParsedArguments, usage } from "./parse.ts";
import type { CommandSpec, OptionSpec } from "./program.ts";

export type OrderCommand =
  | {
      readonly command: "rotate-stream" | "park-stream" | "resume-stream";
      readonly session: string;
      readonly slot: number;
    }
  | {
      readonly command: "maintenance";
      readonly turn: "on" | "off" | "status";
      readonly reason: string | undefined;
      readonly abort: boolean;
    };

const SLOT_MAX = 255;
const REASON_CHARS_MAX = 500;

/** `common`: --config; `bySocket`: what all commands that ask the running server say of that. */
export function orderCommands(common: OptionSpec, bySocket: string): readonly CommandSpec[] {
  const json: OptionSpec = { name: "json", what: "Print one JSON object." };
  const positionals = [
    { name: "SESSION", what: "Its id, as nbackup-server sessions shows it.", required: true },
    { name: "SLOT", what: "The number of the stream's slot, from 0.", required: true },
  ];
  const options = [common, json];
  return [
    {
      name: "rotate-stream",
      what: "Have one stream of a session finish its chunk and connect again from a new port.",
      ...{ options, positionals },
      details: [
        bySocket,
        "Nothing is lost and nothing is sent twice. Waits up to a minute until the stream is back, and says both connections.",
      ],
    },
    {
      name: "park-stream",
      what: "Take one stream of a session out of use until resume-stream.",
      ...{ options, positionals },
      details: [bySocket, "It finishes its chunk first. The last stream of a session cannot be parked."],
    },
    {
      name: "resume-stream",
      what: "Put a parked stream of a session to use again.",
      ...{ options, positionals },
      details: [bySocket],
    },
    {
      name: "maintenance",
      what: "Let no new session begin, let them begin again, or say how it is.",
      options: [
        common,
        { name: "reason", value: "TEXT", what: "With on: why; agents and people read it." },
        { name: "abort", what: "With on: end running sessions too; their agents begin again when it is off." },
        json,
      ],
      positionals: [{ name: "STATE", what: "on, off or status.", required: true }],
      details: [
        bySocket,
        "While it is on, running sessions go on, and agents that ask for a new one wait without counting a failed attempt. A restart of the server keeps it.",
      ],
    },
  ];
}

type Parsed = Extract<ParsedArguments, { readonly kind: "command" }>;

/** Undefined when it is none of them. Throws Failure E_USAGE. */
export function orderCommand({ command, values, flags, positionals }: Parsed): OrderCommand | undefined {
  const [first = "", second = ""] = positionals;
  switch (command) {
    case "rotate-stream":
    case "park-stream":
    case "resume-stream": {
      const slot = Number(second);
      if (!/^\d{1,3}$/.test(second) || slot > SLOT_MAX)
        throw usage(`SLOT is ${JSON.stringify(second)}, expected a number`);
      return { command, session: first, slot };
    }
    case "maintenance": {
      if (first !== "on" && first !== "off" && first !== "status") {
        throw usage(`STATE is ${JSON.stringify(first)}, expected on, off or status`);
      }
      const reason = values.get("reason");
      const abort = flags.has("abort");
      if (first !== "on" && (reason !== undefined || abort)) throw usage("--reason and --abort go with maintenance on");
      if ((reason?.length ?? 0) > REASON_CHARS_MAX)
        throw usage(`--reason is longer than ${REASON_CHARS_MAX} characters`);
      return { command, turn: first, reason, abort };
    }
    default:
      return undefined;
  }
}

export function rotatedText({ slot, fromGeneration, fromRemote, toGeneration, toRemote }: RotateView): string {
  return `slot ${slot} is back: ${fromRemote}, generation ${fromGeneration} became ${toRemote}, generation ${toGeneration}\n`;
}

export function slotOrderText({ slot, order }: SlotOrderView): string {
  return order === "park" ? `slot ${slot} is parked\n` : `slot ${slot} is in use again\n`;
}

export function maintenanceText(answer: MaintenanceAnswer, nowWallMs: number): string {
  const { maintenance, abortedCount, sessionCount } = answer;
  if (maintenance === null) return "maintenance is off\n";
  const aborted = abortedCount === 0 ? "" : `, ${abortedCount} ended`;
  return `${maintenanceLine(maintenance, nowWallMs)}; ${sessionCount} sessions go on${aborted}\n`;
}

/** `in maintenance for 5 min: new disks` */
export function maintenanceLine({ sinceWallMs, reason }: MaintenanceView, nowWallMs: number): string {
  const since = formatDuration(Math.max(0, nowWallMs - sinceWallMs));
  return `in maintenance for ${since}${reason === null ? "" : `: ${safeText(reason)}`}`;
}

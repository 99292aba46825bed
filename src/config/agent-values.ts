/** Values that only agent.yaml has: source paths, schedules, stream marks, process priorities. */
import { isPlainText, orList, TEXT_CHARACTERS_MAX } from "./values.ts";
import { cronProblem } from "#base/cron.ts";
import { Refusal, type Schema, value } from "./parts.ts";
import type { IoClass } from "./types.ts";

/** Absolute and normalised. `..` is refused because after a symbolic link it leads elsewhere than it seems to. */
export function sourcePath(): Schema<string> {
  return value('an absolute path of a directory or a file, with no ".." in it', (input) => {
    if (typeof input !== "string" || !isPlainText(input, TEXT_CHARACTERS_MAX)) return new Refusal();
    if (!input.startsWith("/")) return new Refusal({ hint: "Begin it with a slash." });
    const parts = input.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..")) return new Refusal({ hint: "Write the path without .., as realpath prints it." });
    return `/${parts.join("/")}`;
  });
}

/** NAME_MAX of Linux filesystems. */
const FILE_NAME_BYTES_MAX = 255;

/** One component of a path. */
export function fileName(): Schema<string> {
  return value('the name of a file, without a slash and no pattern, for instance ".nobackup"', (input) => {
    if (typeof input !== "string" || !isPlainText(input, FILE_NAME_BYTES_MAX)) return new Refusal();
    if (input === "." || input === ".." || Buffer.byteLength(input) > FILE_NAME_BYTES_MAX) return new Refusal();
    if (input.includes("/")) return new Refusal({ hint: "Write the last part of the path only." });
    return input;
  });
}

const URL_CHARACTERS_MAX = 2000;

/** An address to send short messages to. What is in it may be secret: it is never shown. */
export function httpUrl(): Schema<string> {
  return value("an http or https URL of at most 2000 characters", (input) => {
    if (typeof input !== "string" || input.length > URL_CHARACTERS_MAX) return new Refusal();
    const url = URL.parse(input);
    if (url === null) return new Refusal({ hint: "Write it out, beginning with https://." });
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : new Refusal();
  });
}

export function schedule(): Schema<string> {
  return value('five fields of cron, for instance "0 2 * * *"', (input) => {
    if (typeof input !== "string") return new Refusal({ hint: "Put the five fields in quotes." });
    const problem = cronProblem(input);
    return problem === undefined
      ? input.trim()
      : new Refusal({ hint: `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.` });
  });
}

const CLASS_SELECTORS = Array.from({ length: 8 }, (_, index): [string, number] => [`CS${index}`, index * 8]);
const ASSURED = [1, 2, 3, 4].flatMap((queue) =>
  [1, 2, 3].map((drop): [string, number] => [`AF${queue}${drop}`, queue * 8 + drop * 2]),
);
/** Names of RFC 2474, 2597 and 3246 and the six bits they stand for. */
const DSCP = new Map<string, number>([["EF", 46], ...ASSURED, ...CLASS_SELECTORS]);

export function dscp(): Schema<number> {
  return value("EF, AF11 to AF43 or CS0 to CS7", (input) => {
    const bits = typeof input === "string" ? DSCP.get(input.toUpperCase()) : undefined;
    return bits ?? new Refusal();
  });
}

const IO_CLASSES = ["none", "idle", "best-effort-0 to best-effort-7", "realtime-0 to realtime-7"];

export function ioClass(): Schema<IoClass> {
  return value(orList(IO_CLASSES), (input): IoClass | Refusal => {
    if (input === "none" || input === "idle") return { kind: input };
    const match = typeof input === "string" ? /^(best-effort|realtime)-([0-7])$/.exec(input) : null;
    if (match === null) return new Refusal();
    return { kind: match[1] === "realtime" ? "realtime" : "best-effort", priority: Number(match[2]) };
  });
}

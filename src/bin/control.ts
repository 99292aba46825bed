/**
 * The control socket of a running server or agent, `control.sock` in its state directory, and the question that a command
 * asks there: one JSON object each way. Whoever may open the socket may steer the program: it is the owner's alone.
 */
import { unlinkSync } from "node:fs";
import * as z from "zod/mini";
import { isErrorCode } from "#base/catalogue.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { askLine, type LineServer, listenLines } from "#net/line-socket.ts";
import type { AdminRequest } from "#server/admin.ts";
import { systemClock } from "./system.ts";

export type Program = "nbackup-agent" | "nbackup-server";

/** Both sides are of one version, or they do not understand each other. */
const CONTROL_VERSION = 1;
const OWNER_ONLY_UMASK = 0o177;

const question = z.object({ version: z.number(), request: z.unknown() });
const answer = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), code: z.string(), message: z.string(), hint: z.string() }),
]);

export function controlPath(stateDir: string): string {
  return `${stateDir}/control.sock`;
}

/** The lock of the state directory must be held: what lies at the path was left by a server that died. */
export function serveControl(
  program: Program,
  stateDir: string,
  log: Logger,
  handle: (request: unknown) => Promise<unknown>,
): LineServer | undefined {
  const path = controlPath(stateDir);
  const umask = process.umask(OWNER_ONLY_UMASK);
  try {
    removeStale(path);
    return listenLines({ path, clock: systemClock, answer: (line) => answerTo(program, line, handle) });
  } catch (error) {
    // Backups need no commands: a full disk, for instance, must not keep the program from starting.
    const reason = errnoName(error) ?? String(error);
    log.error("the control socket cannot be made: commands will not reach this process", { path, reason });
    return undefined;
  } finally {
    process.umask(umask);
  }
}

/** What the running program answers. Rejects with the Failure that it answers with, or of `askLine`. */
export async function askControl(program: Program, stateDir: string, request: object): Promise<unknown> {
  const line = await askLine(program, controlPath(stateDir), JSON.stringify({ version: CONTROL_VERSION, request }));
  const parsed = answer.parse(JSON.parse(line));
  if (parsed.ok) return parsed.result;
  const { code, message, hint } = parsed;
  throw new Failure(isErrorCode(code) ? code : "E_PEER", isErrorCode(code) ? message : `${code}: ${message}`, { hint });
}

export function askServer(stateDir: string, request: AdminRequest): Promise<unknown> {
  return askControl("nbackup-server", stateDir, request);
}

async function answerTo(
  program: Program,
  line: string,
  handle: (request: unknown) => Promise<unknown>,
): Promise<string> {
  try {
    return JSON.stringify({ ok: true, result: await handle(requestIn(program, line)) });
  } catch (error) {
    const { code, message, hint } = toFailure(error);
    return JSON.stringify({ ok: false, code, message, hint });
  }
}

function requestIn(program: Program, line: string): unknown {
  const parsed = z.safeParse(question, parseJson(line));
  if (!parsed.success) throw new Failure("E_USAGE", "the question is not a JSON object with version and request");
  const { version, request } = parsed.data;
  if (version === CONTROL_VERSION) return request;
  throw new Failure(
    "E_VERSION",
    `the running ${program} answers version ${CONTROL_VERSION}, the command asked ${version}`,
    {
      hint: `Restart ${program} after an upgrade, or use the command of the version that runs.`,
    },
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // Told as what it is by the caller.
  }
}

function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoName(error) !== "ENOENT") throw error;
  }
}

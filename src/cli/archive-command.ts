/** The archive commands of both programs as one list: their tables, and what their arguments ask for. */
import type { ParsedCommand, ProgramSide } from "./archive-arguments.ts";
import { catCommand, type CatRequest, catRequest } from "./cat-command.ts";
import { diffCommand, type DiffRequest, diffRequest } from "./diff-command.ts";
import { findCommand, type FindRequest, findRequest } from "./find-command.ts";
import { INDEX_COMMAND, type IndexRequest, indexRequest } from "./index-command.ts";
import { listCommand, type ListRequest, listRequest } from "./list-command.ts";
import { lsCommand, type LsRequest, lsRequest } from "./ls-command.ts";
import type { CommandSpec } from "./program.ts";
import { restoreCommand, type RestoreRequest, restoreRequest } from "./restore-command.ts";
import { verifyCommand, type VerifyRequest, verifyRequest } from "./verify-command.ts";

export type ArchiveRequest =
  ListRequest | LsRequest | FindRequest | DiffRequest | CatRequest | RestoreRequest | VerifyRequest | IndexRequest;

export function archiveCommands(side: ProgramSide): readonly CommandSpec[] {
  const both = [listCommand, lsCommand, findCommand, diffCommand, catCommand, restoreCommand, verifyCommand];
  return [...both.map((command) => command(side)), ...(side === "server" ? [INDEX_COMMAND] : [])];
}

const REQUESTS: Readonly<Record<ArchiveRequest["command"], (parsed: ParsedCommand) => ArchiveRequest>> = {
  list: listRequest,
  ls: lsRequest,
  find: findRequest,
  diff: diffRequest,
  cat: catRequest,
  restore: restoreRequest,
  verify: verifyRequest,
  index: indexRequest,
};

/** Undefined for another command. Throws Failure E_USAGE or E_NAME. */
export function archiveRequest(parsed: ParsedCommand): ArchiveRequest | undefined {
  const { command } = parsed;
  return isArchiveCommand(command) ? REQUESTS[command](parsed) : undefined;
}

function isArchiveCommand(name: string): name is ArchiveRequest["command"] {
  return Object.hasOwn(REQUESTS, name);
}

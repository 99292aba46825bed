/** ls: what is in an archive, or in a directory of it, line by line as it is read. */
import type { Batches, IndexReader } from "#archive/index-reader.ts";
import { indexPath } from "#archive/index-path.ts";
import { entriesBelow, findPath, listDirectory, type ListedName } from "#archive/index-queries.ts";
import { EXIT } from "#cli/exit-codes.ts";
import type { LsRequest } from "#cli/ls-command.ts";
import { LsLines, lsJson } from "#cli/ls-report.ts";
import { ArchiveIndex, askIndexes } from "./archive-index.ts";
import { findArchive } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { pathsUnknown } from "./unknown-paths.ts";
import { writeLines } from "./write-lines.ts";

const TOP = new Uint8Array(0);

export async function runLs(request: LsRequest, context: CommandContext): Promise<number> {
  const target = await findArchive(request.archive, context);
  const opened = await ArchiveIndex.open(target, context);
  try {
    const path = request.path === undefined ? TOP : indexPath(context.argumentBytes(request.path));
    const found: Found = { what: path.length === 0 ? "directory" : undefined };
    const batches = askIndexes([opened], () => listing(opened.reader, path, request.recursive, found));
    const [paths, names] = [new LsLines(0), new LsLines(path.length + 1)];
    const line = (item: ListedName): string =>
      (request.recursive || path.length === 0 || found.what === "file" ? paths : names).line(item);
    await writeLines(batches, request.json ? lsJson : line, context);
    if (found.what === undefined) {
      throw await pathsUnknown([{ text: request.path ?? "", bytes: path }], target.name, opened.reader);
    }
    return opened.damageCount > 0 ? EXIT.partial : EXIT.done;
  } finally {
    await opened.close();
  }
}

/** What the path turned out to be; undefined: it is not in the archive. */
interface Found {
  what: "directory" | "file" | undefined;
}

async function* listing(index: IndexReader, path: Uint8Array, recursive: boolean, found: Found): Batches<ListedName> {
  if (recursive) {
    for await (const batch of entriesBelow(index, path)) {
      found.what ??= "directory";
      yield batch.map((entry) => ({ path: entry.path, entry }));
    }
    return;
  }
  const entry = path.length === 0 ? undefined : await findPath(index, path);
  if (entry !== undefined && entry.type !== "directory") {
    found.what = "file";
    yield [{ path, entry }];
    return;
  }
  if (entry !== undefined) found.what = "directory";
  for await (const batch of listDirectory(index, path)) {
    found.what = "directory";
    yield batch;
  }
}

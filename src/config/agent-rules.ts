/**
 * What must hold between keys of agent.yaml. Each rule reads the keys it needs by itself, so that a mistake elsewhere in the file does
 * not hide what it finds.
 */
import { bufferBytesMin, DEFAULT_CHUNK_BYTES } from "#base/chunk-size.ts";
import { pathText } from "#base/path-text.ts";
import { resourcesShape, resumeShape, retryShape } from "./agent-schema.ts";
import { checkBandwidth } from "./bandwidth-rules.ts";
import { sourcesSchema } from "./backup-schema.ts";
import { pick } from "./parts.ts";
import { isWithin } from "./places.ts";
import { itemsAt, memberOf, type RuleReport } from "./rules.ts";
import { durationText, name, sizeText } from "./values.ts";

export function checkAgentRules(content: unknown, report: RuleReport): void {
  checkEntryNames(content, report);
  for (const [index, entry] of itemsAt(content, "backups").entries()) checkSources(index, entry, report);
  checkNotify(content, report);
  checkBandwidth(content, report);
  checkRetry(content, report);
  checkWindow(content, report);
}

function checkEntryNames(content: unknown, report: RuleReport): void {
  const first = new Map<string, number>();
  for (const [index, entry] of itemsAt(content, "backups").entries()) {
    const entryName = pick(name(), memberOf(entry, "name"));
    if (entryName === undefined) continue;
    const before = first.get(entryName);
    if (before === undefined) first.set(entryName, index);
    else
      report(
        ["backups", index, "name"],
        `found "${entryName}" again, which backups[${before}] has already, allowed: a name of its own`,
      );
  }
}

/** E_SOURCE_NESTED, told before anything runs: the same file twice in an archive helps nobody. */
function checkSources(index: number, entry: unknown, report: RuleReport): void {
  const sources = pick(sourcesSchema, memberOf(entry, "sources")) ?? [];
  // Sorted component by component, whatever lies inside a source comes right after it.
  const order = sources.map(({ path }, at) => ({
    path,
    at,
    key: `${path === "/" ? "" : path}/`.replaceAll("/", "\0"),
  }));
  order.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.at - b.at));
  let outer = order[0];
  for (const source of order.slice(1)) {
    if (outer === undefined || !isWithin(source.path, outer.path)) {
      outer = source;
      continue;
    }
    const [shown, outerShown] = [quoted(source.path), quoted(outer.path)];
    const message =
      source.path === outer.path
        ? `found ${shown}, which is sources[${outer.at}] already`
        : `found ${shown}, which lies inside ${outerShown} (sources[${outer.at}])`;
    report(["backups", index, "sources", source.at, "path"], `${message}, allowed: sources apart from each other`, {
      hint: "Remove the source that lies inside the other one.",
    });
  }
}

function checkNotify(content: unknown, report: RuleReport): void {
  for (const [index, entry] of itemsAt(content, "backups").entries()) {
    const notify = memberOf(entry, "notify");
    if (memberOf(notify, "url") !== undefined) continue;
    const alone = ["failure_url", "on"].find((key) => memberOf(notify, key) !== undefined);
    if (alone === undefined) continue;
    report(["backups", index, "notify", alone], "stands without notify.url, allowed: only beside it", {
      hint: "Add url, or leave notify out.",
    });
  }
}

function checkRetry(content: unknown, report: RuleReport): void {
  const retry = memberOf(content, "retry");
  const initialMs = pick(retryShape.initial_delay, memberOf(retry, "initial_delay"));
  const maxMs = pick(retryShape.max_delay, memberOf(retry, "max_delay"));
  if (initialMs === undefined || maxMs === undefined || initialMs <= maxMs) return;
  report(
    ["retry", "initial_delay"],
    `found ${durationText(initialMs)}, allowed: at most max_delay (${durationText(maxMs)})`,
  );
}

/** Where workers are automatic or the chunk size is the storage's, the agent looks again when it knows them. */
function checkWindow(content: unknown, report: RuleReport): void {
  const resume = memberOf(content, "resume");
  const bufferBytes = pick(resumeShape.buffer_size, memberOf(resume, "buffer_size"));
  const written = memberOf(resume, "chunk_size");
  const chunkBytes = written === undefined ? DEFAULT_CHUNK_BYTES.gzip : pick(resumeShape.chunk_size, written);
  const workersSet = pick(resourcesShape.workers, memberOf(memberOf(content, "resources"), "workers"));
  if (bufferBytes === undefined || chunkBytes === undefined || workersSet === undefined) return;
  const workers = Math.max(1, workersSet);
  const least = bufferBytesMin(workers, chunkBytes);
  if (bufferBytes >= least) return;
  const sum = `(workers + 4) × (chunk_size + 1mb) = (${workers} + 4) × (${sizeText(chunkBytes)} + 1mb)`;
  report(
    ["resume", "buffer_size"],
    `found ${sizeText(bufferBytes)}, allowed: at least ${sizeText(least)}, which is ${sum}`,
    {
      hint: "Raise resume.buffer_size, or lower resume.chunk_size or resources.workers.",
    },
  );
}

function quoted(path: string): string {
  return `"${pathText(Buffer.from(path))}"`;
}

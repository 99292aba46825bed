/** Damages of an archive as sentences and as JSON: what is damaged, which files that hits, and that the rest is not. */
import { pathText } from "#base/path-text.ts";

/** As the restore engine reports it; the fields are explained there. */
export interface DamageReport {
  readonly fault: string;
  readonly message: string | undefined;
  readonly chunk: number | undefined;
  readonly chunkCount: number;
  readonly storedFrom: number | undefined;
  readonly storedTo: number | undefined;
  readonly rawFrom: number | undefined;
  readonly rawTo: number | undefined;
  readonly files: readonly Uint8Array[];
  readonly held?: { readonly first: Uint8Array; readonly last: Uint8Array; readonly count: number } | undefined;
  readonly entriesLost: boolean;
  readonly after: Uint8Array | undefined;
  readonly before: Uint8Array | undefined;
}

const FAULTS: Readonly<Record<string, string>> = {
  unreadable: "the disk cannot read it",
  missing: "the archive ends before it does",
  crc: "its CRC-32 is wrong",
  digest: "its SHA-256 is wrong",
  unfinished: "it breaks off",
  damaged: "it cannot be decompressed",
  "too-long": "it is longer than it may be",
  length: "it has another length than announced",
  tar: "it holds no whole tar entries",
};

/** Without line end. */
export function damageText(damage: DamageReport): string {
  const { chunk, storedFrom, storedTo, files } = damage;
  const to = storedTo === undefined ? "the end" : String(Math.max(0, storedTo - 1));
  const bytes = storedFrom === undefined ? "" : `bytes ${storedFrom} to ${to} of the archive`;
  const chunks =
    damage.chunkCount === 1 ? `chunk ${chunk}` : `chunks ${chunk} to ${(chunk ?? 0) + damage.chunkCount - 1}`;
  const place = chunk === undefined ? bytes || "the tar" : `${chunks} (${bytes})`;
  const why = damage.message ?? FAULTS[damage.fault] ?? damage.fault;
  const data = files.length === 0 ? "" : `; data of ${files.map(pathText).join(", ")}`;
  const hit = damage.held === undefined ? data : heldText(damage.held);
  return `${place} ${damage.chunkCount === 1 ? "is" : "are"} damaged: ${why}${hit}${lostText(damage)}`;
}

/** By an index, which knows what lies where. */
function heldText({ first, last, count }: NonNullable<DamageReport["held"]>): string {
  if (count === 1) return `; it holds ${pathText(first)}`;
  return `; it holds ${count} entries, ${pathText(first)} to ${pathText(last)}`;
}

function lostText({ entriesLost, after, before }: DamageReport): string {
  if (!entriesLost) return "";
  if (after === undefined && before === undefined) return "; nothing else of the archive can be read";
  const from = after === undefined ? "the beginning" : pathText(after);
  const to = before === undefined ? "the end" : pathText(before);
  return `; whatever lay between ${from} and ${to} is lost`;
}

export function damageJson(damage: DamageReport): Record<string, unknown> {
  const name = (path: Uint8Array | undefined): string | null => (path === undefined ? null : pathText(path));
  const range = (from: number | undefined, to: number | undefined): readonly (number | null)[] | null =>
    from === undefined ? null : [from, to ?? null];
  return {
    chunk: damage.chunk ?? null,
    chunkCount: damage.chunkCount,
    reason: damage.fault,
    message: damage.message ?? null,
    archiveBytes: range(damage.storedFrom, damage.storedTo),
    rawBytes: range(damage.rawFrom, damage.rawTo),
    files: damage.files.map(pathText),
    ...(damage.held === undefined ? {} : { filesCount: damage.held.count }),
    entriesLost: damage.entriesLost,
    after: name(damage.after),
    before: name(damage.before),
  };
}

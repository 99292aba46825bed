/** What the thread that takes entries is told and tells: plain values, so that they can be posted. One message per piece. */
import type { Overwrite } from "#base/overwrite.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import type { Damage } from "./damage.ts";
import type { DeletionRules } from "./deletion-policy.ts";
import type { PieceFault } from "./piece.ts";
import type { RestoreProblem } from "./problems.ts";
import type { SeenEntries } from "./seen-entries.ts";
import type { SlotMemory } from "./slots.ts";
import type { PieceInfo } from "./tar-feed.ts";
import type { TreeCounts } from "./tree-options.ts";

export interface RestoreJob {
  readonly kind: "restore";
  readonly target: Uint8Array;
  /** As a person writes them; none: everything. */
  readonly paths: readonly Uint8Array[];
  readonly overwrite: Overwrite;
  readonly stripComponents: number;
  readonly dryRun: boolean;
  readonly owners: boolean;
  /** Undefined: nothing is deleted. Else what the archive does not have, and the backup would have seen. */
  readonly deleteExcept: DeletionRules | undefined;
  /** Of this process. */
  readonly privileged: boolean;
  readonly uid: number;
  readonly gids: readonly number[];
  readonly temporaryName: string;
  readonly startedSeconds: number;
}

export type TarJob =
  | RestoreJob
  /** The content of one file to a descriptor. */
  | { readonly kind: "cat"; readonly path: Uint8Array; readonly fd: number }
  /** The entries as they are, as a tar to a descriptor. */
  | { readonly kind: "copy"; readonly paths: readonly Uint8Array[]; readonly fd: number }
  /** Nothing but a look; `compare`: what was seen is told, to be compared with an index. */
  | { readonly kind: "verify"; readonly compare: boolean };

export type ToTar =
  | { readonly type: "start"; readonly slots: readonly SlotMemory[]; readonly job: TarJob }
  | {
      readonly type: "piece";
      readonly slot: number;
      readonly length: number;
      readonly piece: PieceInfo;
    }
  | { readonly type: "bytes"; readonly slot: number; readonly length: number }
  | {
      readonly type: "missing";
      readonly piece: PieceInfo;
      readonly fault: PieceFault;
      readonly rawLength: number | undefined;
      /** Where in the tar the next entry begins, if an index says so. */
      readonly resumeAt: number | undefined;
    }
  | { readonly type: "broken"; readonly fault: PieceFault; readonly offset: number }
  /** What comes may not be all there is: nothing is to be deleted from here on. */
  | { readonly type: "incomplete" }
  /** One pass over the archive is complete. */
  | { readonly type: "end-pass"; readonly partial: boolean }
  | { readonly type: "finish" }
  | { readonly type: "abort" };

export interface TarProgress {
  /** Entries that were seen, wanted or not. */
  readonly entries: number;
  /** Data written. */
  readonly bytes: number;
  readonly path: Uint8Array | undefined;
}

export interface TarReport {
  readonly entries: number;
  readonly counts: TreeCounts;
  /** The first ones by name, and all of them counted. */
  readonly problems: readonly RestoreProblem[];
  readonly problemCount: number;
  /** Symbolic links in whose place a directory of the archive came: the first ones by name, and all of them counted. */
  readonly replacedLinks: readonly Uint8Array[];
  readonly replacedLinkCount: number;
  readonly damages: readonly Damage[];
  readonly damageCount: number;
}

export type FromTar =
  | { readonly type: "taken"; readonly progress: TarProgress; readonly seen: SeenEntries | undefined }
  /** Names of entries that another pass has to bring: hard links wait for their content. */
  | { readonly type: "pass"; readonly wanted: readonly Uint8Array[] }
  | { readonly type: "report"; readonly report: TarReport }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string; readonly hint: string };

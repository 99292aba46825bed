/** What the thread does that looks at source roots: one after another, each named before it is touched. Synchronous. */
import type { FileSource } from "#archive/source.ts";
import { type FilesystemOf, sourceFacts, type SourceFacts } from "#archive/source-facts.ts";
import { checkSources, sourceRoots, type SourceSpec } from "#archive/source-roots.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import { toFailure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";

/** The first and only message to the thread. `check`: whether they can be backed up. `facts`: what they are. */
export interface SourceLookStart {
  readonly what: "check" | "facts";
  readonly sources: readonly SourceSpec[];
}

export type FromSourceLook =
  /** It is about to be looked at. */
  | { readonly type: "at"; readonly path: string }
  | { readonly type: "done"; readonly facts: readonly SourceFacts[] }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string; readonly hint: string };

export function runSourceLook(
  { what, sources }: SourceLookStart,
  sourceOf: (roots: readonly Uint8Array[]) => FileSource,
  filesystemOf: FilesystemOf,
  post: (message: FromSourceLook) => void,
): void {
  try {
    const facts: SourceFacts[] = [];
    for (const root of sourceRoots(sources)) {
      post({ type: "at", path: pathText(root.path) });
      const source = sourceOf([root.path]);
      if (what === "check") checkSources(source, [root]);
      else facts.push(...sourceFacts(source, [root], filesystemOf));
    }
    post({ type: "done", facts });
  } catch (error) {
    const { code, message, hint } = toFailure(error);
    post({ type: "failed", code, message, hint });
  }
}

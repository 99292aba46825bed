/** What an archive must be: the same bytes as an undisturbed run over the same tree makes, or, of a tree that changed, a whole tar. */
import { zstdDecompressSync, gunzipSync } from "node:zlib";
import { sourceRoots } from "#archive/source-roots.ts";
import type { Producer } from "#agent/producer.ts";
import { InlineProducer } from "#test/support/inline-producer.ts";
import type { MemorySource } from "#test/support/memory-source.ts";
import { testHeader } from "#test/support/pipeline-kit.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { walkTar } from "#test/support/tar-walk.ts";
import type { SimOptions } from "./options.ts";
import { Production } from "./production.ts";
import { entryRoot } from "./tree.ts";

export class References {
  readonly #known = new Map<MemorySource, Map<string, string>>();

  /** What is wrong with what was made of a tree that never changed. */
  compare(source: MemorySource, backup: string, options: SimOptions, production: Production): string | undefined {
    const ofSource = this.#known.get(source) ?? new Map<string, string>();
    this.#known.set(source, ofSource);
    const known = ofSource.get(backup) ?? undisturbed(source, backup, options);
    ofSource.set(backup, known);
    return known === production.sha256() ? undefined : "an undisturbed run over the same tree gives other bytes";
  }

  /** What is wrong with an archive of a tree that changed while it was read. */
  examine({ compression }: SimOptions, production: Production): string | undefined {
    try {
      const stored = production.bytes(0);
      const tar = compression === "gzip" ? gunzipSync(stored) : zstdDecompressSync(stored);
      walkTar(tar);
      return undefined;
    } catch (error) {
      return `it is not a whole archive: ${String(error)}`;
    }
  }
}

/** The SHA-256 of the archive that nothing disturbs. */
function undisturbed(source: MemorySource, backup: string, options: SimOptions): string {
  const clock = new SimClock();
  const { hooks } = source;
  source.hooks = {};
  const inner: Producer = new InlineProducer({
    source,
    roots: sourceRoots([{ path: entryRoot(backup), optional: false }]),
    exclude: [],
    compression: { mode: options.compression, level: 1 },
    chunkBytes: options.chunkBytes,
    index: testHeader(options.compression),
    clock,
  });
  const production = new Production(inner);
  let over = false;
  production.start({
    reserve: () => true,
    chunk: () => undefined,
    problems: () => undefined,
    end: () => {
      over = true;
    },
    failed: (failure) => {
      throw failure;
    },
  });
  clock.run(() => over, Number.POSITIVE_INFINITY);
  source.hooks = hooks;
  return production.sha256();
}

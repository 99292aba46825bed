/** What takes part in the benchmark: something that turns a corpus into an archive on the destination's disk. */
import type { Corpus } from "./corpora.ts";
import type { Usage } from "./measure.ts";

export interface BenchContext {
  /** Emptied before every run; on the disk that is written to. */
  readonly scratch: string;
  readonly certificates: Certificates;
}

export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly agentCert: string;
  readonly agentKey: string;
}

/** One run. */
export interface Outcome {
  /** From the start of the first sending process until everything is synced on the destination's disk. */
  readonly wallSeconds: number;
  readonly processes: readonly Usage[];
  readonly archiveBytes: number;
  /** An archive that tar can list; undefined for repositories. */
  readonly archive: string | undefined;
  /** From the last byte written to the archive until the answer; nbackup only. */
  readonly commitSeconds: number | undefined;
}

export interface Contender {
  readonly name: string;
  readonly description: string;
  /** Name of the contender whose speed and size this one's are compared with. */
  readonly baseline: string | undefined;
  run(corpus: Corpus, context: BenchContext): Promise<Outcome>;
}

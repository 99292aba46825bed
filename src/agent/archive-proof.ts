/** What the agent says it sent: per file the flat SHA-256 and the root over the chunk list, computed while chunks pass. */
import { RootHasher } from "#base/root-hash.ts";
import { RootTrail } from "#base/root-trail.ts";
import type { FileNumber } from "#base/chunk.ts";
import type { WindowChunk } from "#window/held-chunk.ts";

export interface FileProof {
  readonly file: FileNumber;
  readonly chunks: number;
  readonly bytes: number;
  /** Of the file's bytes, 32 bytes. */
  readonly sha256: Uint8Array;
  /** PROTOCOL.md "Integrity", 32 bytes. */
  readonly root: Uint8Array;
  /** What the root was on the way to it: root-trail.ts of base. */
  readonly trail: Uint8Array;
}

/** Takes the chunks of one file in sequence order. */
export class ProofBuilder {
  readonly #file: FileNumber;
  readonly #flat = new Bun.CryptoHasher("sha256");
  readonly #root = new RootHasher();
  readonly #trail = new RootTrail(this.#root);
  #chunks = 0;
  #bytes = 0;

  constructor(file: FileNumber) {
    this.#file = file;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(chunk: WindowChunk, stored: Uint8Array): void {
    this.#flat.update(stored);
    this.#root.add(chunk.offset, chunk.storedLength, chunk.digest);
    this.#trail.follow();
    this.#chunks += 1;
    this.#bytes += chunk.storedLength;
  }

  /** Once, after the last chunk. */
  finish(): FileProof {
    return {
      file: this.#file,
      chunks: this.#chunks,
      bytes: this.#bytes,
      sha256: new Uint8Array(this.#flat.digest()),
      root: this.#root.root(),
      trail: this.#trail.bytes(),
    };
  }
}

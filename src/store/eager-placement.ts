/**
 * Chunks straight at their offset in the two part files, in whatever order they come, so that nothing is left to do at
 * the end but to cut off what a chunk that was given up has left behind it.
 */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { allOf } from "./at-once.ts";
import type { AssemblyHost, ChunkPlacement, FileExtent } from "./chunk-placement.ts";
import type { DiskFile } from "./disk.ts";
import { fitLength } from "./part-length.ts";
import type { ChunkPlace } from "./session-types.ts";

export class EagerPlacement implements ChunkPlacement {
  /** By file number. */
  readonly #parts: readonly DiskFile[];

  /** The part files, by file number; open for reading and writing, and closed by `close`. */
  constructor(parts: readonly DiskFile[]) {
    this.#parts = parts;
  }

  write(chunk: ChunkPlace, bytes: Uint8Array, offset: number): Promise<void> {
    return this.#part(chunk.file).write(bytes, offset);
  }

  async sync(chunks: readonly ChunkPlace[]): Promise<void> {
    const numbers = new Set(chunks.map((chunk) => chunk.file));
    // When one fails the other is waited for: who stops the session closes the files next.
    await allOf([...numbers].map((number) => this.#part(number).fdatasync()));
  }

  read(chunk: ChunkPlace, into: Uint8Array, offset: number): Promise<number> {
    return this.#part(chunk.file).read(into, offset);
  }

  async holds(chunk: ChunkPlace): Promise<boolean> {
    return (await this.#part(chunk.file).size()) >= chunk.offset + chunk.storedLength;
  }

  async assemble(files: readonly FileExtent[], host: AssemblyHost): Promise<void> {
    for (const [number, { bytes }] of files.entries()) {
      host.check();
      await fitLength(must(this.#parts[number], `part ${number}`), number, bytes);
    }
  }

  close(): Promise<void> {
    return allOf(this.#parts.map((part) => part.close()));
  }

  #part(number: FileNumber): DiskFile {
    return must(this.#parts[number], `part ${number}`);
  }
}

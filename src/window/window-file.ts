/** What the send window knows of one of the session's two files. */
import { ChunkDeque } from "./chunk-deque.ts";

export interface WindowFile {
  readonly chunks: ChunkDeque;
  nextOffset: number;
  durableBytes: number;
}

export function emptyFile(): WindowFile {
  return { chunks: new ChunkDeque(), nextOffset: 0, durableBytes: 0 };
}

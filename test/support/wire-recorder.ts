/** A frame decoder whose events are kept as plain values, so that two runs can be compared. */
import type { ChunkTail } from "#wire/encode.ts";
import { FrameDecoder } from "#wire/decoder.ts";
import type { FrameHeader } from "#wire/frame.ts";
import { CHUNK_TAIL_BYTES } from "#wire/limits.ts";
import type { AnyMessage } from "#wire/messages.ts";
import type { ReceiveState } from "#wire/states.ts";

export type FrameEvent =
  | { readonly kind: "message"; readonly header: FrameHeader; readonly message: AnyMessage }
  | {
      readonly kind: "data";
      readonly header: FrameHeader;
      readonly stored: string;
      readonly storedCrc: number;
      /** Undefined: the frame was damaged. */
      readonly tail: ChunkTail | undefined;
    }
  | { readonly kind: "bytes"; readonly header: FrameHeader; readonly bytes: string; readonly crcOk: boolean };

export class FrameRecorder {
  readonly decoder: FrameDecoder;
  readonly events: FrameEvent[] = [];
  /** Lengths of the views that were handed through. */
  readonly pieces: number[] = [];
  #header: FrameHeader | undefined;
  #stored: Buffer[] = [];

  constructor(state: ReceiveState, describe?: () => string) {
    this.decoder = new FrameDecoder({
      state,
      ...(describe === undefined ? {} : { describe }),
      handlers: {
        message: (message, header) => void this.events.push({ kind: "message", header, message }),
        dataStart: (header) => {
          if (this.#header !== undefined) throw new Error("a Data frame began inside another one");
          this.#header = header;
          this.#stored = [];
        },
        dataBytes: (bytes) => {
          this.pieces.push(bytes.length);
          this.#stored.push(Buffer.from(bytes));
        },
        dataEnd: (end) => {
          const header = this.#header;
          if (header === undefined) throw new Error("a Data frame ended that never began");
          this.#header = undefined;
          const stored = Buffer.concat(this.#stored);
          if (stored.length !== header.length - CHUNK_TAIL_BYTES) throw new Error(`${stored.length} stored bytes`);
          const { crcOk, storedCrc, ...tail } = end;
          this.events.push({
            kind: "data",
            header,
            stored: stored.toString("hex"),
            storedCrc,
            tail: crcOk ? (tail as ChunkTail) : undefined,
          });
        },
        bytes: {
          start: (header) => {
            this.#header = header;
            this.#stored = [];
          },
          bytes: (view) => {
            this.pieces.push(view.length);
            this.#stored.push(Buffer.from(view));
          },
          end: (crcOk) => {
            const header = this.#header;
            if (header === undefined) throw new Error("a Bytes frame ended that never began");
            this.#header = undefined;
            const bytes = Buffer.concat(this.#stored);
            if (bytes.length !== header.length) throw new Error(`${bytes.length} bytes`);
            this.events.push({ kind: "bytes", header, bytes: bytes.toString("hex"), crcOk });
          },
        },
      },
    });
  }
}

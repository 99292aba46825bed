/** Entry of the reader thread. Only wires the port to #agent/pipeline-reader.ts. */
import type { ReaderStart } from "#agent/pipeline-messages.ts";
import { runReader } from "#agent/pipeline-reader.ts";
import { systemClock } from "./system.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<ReaderStart>): void => {
  runReader(
    event.data,
    (message) => self.postMessage(message),
    () => systemClock.wall(),
  );
};

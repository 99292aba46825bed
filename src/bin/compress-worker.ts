/** Entry of a compress thread. Only wires the port to #agent/pipeline-compress.ts. */
import { CompressThread } from "#agent/pipeline-compress.ts";
import type { ToCompress } from "#agent/pipeline-messages.ts";

declare const self: Worker;

const thread = new CompressThread((message) => self.postMessage(message));
self.onmessage = (event: MessageEvent<ToCompress>): void => thread.handle(event.data);

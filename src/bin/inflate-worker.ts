/** Entry of a decompressing thread. Only wires the port to #restore/inflate-thread.ts. */
import { InflateThread, type ToInflate } from "#restore/inflate-thread.ts";

declare const self: Worker;

const thread = new InflateThread((message) => self.postMessage(message));
self.onmessage = (event: MessageEvent<ToInflate>): void => thread.handle(event.data);

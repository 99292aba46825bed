/** Entry of a decompressing thread of a verification in the background: as inflate-worker.ts, behind everything else. */
import { applyPriority } from "#agent/pipeline-priority.ts";
import { InflateThread, type ToInflate } from "#restore/inflate-thread.ts";

declare const self: Worker;

// A system that refuses leaves it as it was.
applyPriority({ nice: 19, ioClass: { kind: "idle" } });

const thread = new InflateThread((message) => self.postMessage(message));
self.onmessage = (event: MessageEvent<ToInflate>): void => thread.handle(event.data);

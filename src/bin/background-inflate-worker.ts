/** Entry of a decompressing thread of a verification in the background: as inflate-worker.ts, behind everything else. */
import { applyPriority } from "#agent/pipeline-priority.ts";
import { InflateThread, type ToInflate } from "#restore/inflate-thread.ts";

declare const self: Worker;

// As the agent by default: at 19 it would stand still for hours beside other programs that want all processors. A refusal changes nothing.
applyPriority({ nice: 10, ioClass: { kind: "idle" } });

const thread = new InflateThread((message) => self.postMessage(message));
self.onmessage = (event: MessageEvent<ToInflate>): void => thread.handle(event.data);

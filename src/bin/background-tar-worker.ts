/** Entry of the thread that takes entries of a verification in the background: as tar-worker.ts, behind everything else. */
import { applyPriority } from "#agent/pipeline-priority.ts";
import type { ToTar } from "#restore/tar-job.ts";
import { TarThread } from "#restore/tar-thread.ts";

declare const self: Worker;

// As the agent by default: at 19 it would stand still for hours beside other programs that want all processors. A refusal changes nothing.
applyPriority({ nice: 10, ioClass: { kind: "idle" } });

const thread = new TarThread();
self.onmessage = (event: MessageEvent<ToTar>): void => self.postMessage(thread.handle(event.data));

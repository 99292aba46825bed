/** Entry of the thread that takes entries of a verification in the background: as tar-worker.ts, behind everything else. */
import { applyPriority } from "#agent/pipeline-priority.ts";
import type { ToTar } from "#restore/tar-job.ts";
import { TarThread } from "#restore/tar-thread.ts";

declare const self: Worker;

// A system that refuses leaves it as it was.
applyPriority({ nice: 19, ioClass: { kind: "idle" } });

const thread = new TarThread();
self.onmessage = (event: MessageEvent<ToTar>): void => self.postMessage(thread.handle(event.data));

/** Entry of the thread that syncs filesystems. Only wires the port to #store/sync-thread.ts. */
import { answerSync, type SyncQuestion } from "#store/sync-thread.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<SyncQuestion>): void => self.postMessage(answerSync(event.data));

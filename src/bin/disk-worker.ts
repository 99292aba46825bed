/** Entry of the thread of a disk. Only wires the port to #store/disk-thread.ts. */
import { type DiskQuestion, answerDisk } from "#store/disk-thread.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<DiskQuestion>): void => self.postMessage(answerDisk(event.data));

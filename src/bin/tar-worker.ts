/** Entry of the thread that takes entries of an archive. Only wires the port to #restore/tar-thread.ts. */
import type { ToTar } from "#restore/tar-job.ts";
import { TarThread } from "#restore/tar-thread.ts";

declare const self: Worker;

const thread = new TarThread();
self.onmessage = (event: MessageEvent<ToTar>): void => self.postMessage(thread.handle(event.data));

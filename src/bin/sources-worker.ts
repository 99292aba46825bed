/** Entry of the thread that looks at sources. Only wires the port to #agent/source-look-thread.ts. */
import { runSourceLook, type SourceLookStart } from "#agent/source-look-thread.ts";
import { linuxFilesystemOf } from "#archive/linux-filesystem.ts";
import { LinuxSource } from "#archive/linux-source.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<SourceLookStart>): void => {
  runSourceLook(
    event.data,
    (roots) => new LinuxSource({ roots }),
    linuxFilesystemOf,
    (message) => self.postMessage(message),
  );
};

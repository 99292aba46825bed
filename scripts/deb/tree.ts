/**
 * The files of a package as a tar. Everything that could differ between two builds is fixed here: order by name, owner root, one time,
 * modes as they are said, directories made of the files' names.
 */
import tar from "tar-stream";

export interface PackageFile {
  /** Where it is installed, absolute. */
  readonly path: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

export async function tarOf(files: readonly PackageFile[], epochSeconds: number): Promise<Uint8Array> {
  const pack = tar.pack();
  const chunks: Uint8Array[] = [];
  const collected = (async () => {
    for await (const chunk of pack) chunks.push(chunk as Uint8Array);
  })();
  const common = { uid: 0, gid: 0, uname: "root", gname: "root", mtime: new Date(epochSeconds * 1000) };
  for (const directory of directoriesOf(files)) {
    pack.entry({ ...common, name: `.${directory}`, type: "directory", mode: 0o755 });
  }
  for (const { path, mode, bytes } of byPath(files)) {
    const name = `.${path}`;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    pack.entry({ ...common, name, type: "file", mode, size: bytes.length }, Buffer.from(bytes), (error) =>
      error === null || error === undefined ? resolve() : reject(error),
    );
    await promise;
  }
  pack.finalize();
  await collected;
  return Buffer.concat(chunks);
}

/** With a slash at the end, each after the one that it lies in. */
export function directoriesOf(files: readonly PackageFile[]): readonly string[] {
  const found = new Set<string>(["/"]);
  for (const { path } of files) {
    for (let at = path.indexOf("/", 1); at > 0; at = path.indexOf("/", at + 1)) found.add(path.slice(0, at + 1));
  }
  return [...found].sort();
}

function byPath(files: readonly PackageFile[]): readonly PackageFile[] {
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** What dpkg wants to know: KiB on the disk, each file and directory rounded up. */
export function installedKib(files: readonly PackageFile[]): number {
  const kib = files.map(({ bytes }) => Math.ceil(bytes.length / 1024));
  return kib.reduce((sum, each) => sum + each, directoriesOf(files).length);
}

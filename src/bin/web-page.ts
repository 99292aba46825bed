/** The page's own files, as they are embedded in the executable. There are none in it yet: then its path is answered with 404. */
import type { PageFile } from "#web/web-app.ts";

const FILES: ReadonlyMap<string, PageFile> = new Map();

export function pageFile(path: string): PageFile | undefined {
  return FILES.get(path);
}

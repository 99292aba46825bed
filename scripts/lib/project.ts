/** Where things lie in the checkout, and the version: named once for all scripts. */
import path from "node:path";
import pkg from "#package.json" with { type: "json" };

export const ROOT = path.dirname(path.dirname(import.meta.dir));

/** The only place that names the version is package.json. */
export const VERSION: string = pkg.version;

/** The absolute path of something in the checkout. */
export function inProject(...parts: string[]): string {
  return path.join(ROOT, ...parts);
}

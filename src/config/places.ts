/** Where paths of a configuration file lead: relative ones count from the directory of that file, wherever the program was started. */
import path from "node:path/posix";

export interface Places {
  /** Absolute path of the configuration file. */
  readonly configFile: string;
  /** `filePath` as an absolute, normalised path without a trailing slash. */
  absolute(filePath: string): string;
  optional(filePath: string | undefined): string | undefined;
}

/** `configFile` must be absolute. */
export function placesOf(configFile: string): Places {
  const directory = path.dirname(configFile);
  const absolute = (filePath: string): string => path.resolve(directory, filePath);
  return {
    configFile,
    absolute,
    optional: (filePath) => (filePath === undefined ? undefined : absolute(filePath)),
  };
}

/** True when `inner` is `outer` or lies below it. Both are absolute and normalised. */
export function isWithin(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith("/") ? outer : `${outer}/`);
}

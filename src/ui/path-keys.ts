/** Paths and names of archives as the API writes them, taken apart. Pure. */

/** A directory on the way to another: its name for people, its key for requests. */
export interface PathStep {
  readonly name: string;
  readonly key: string;
}

/** A key is base64url of a path's bytes. Nothing for one that is not. */
function bytesOf(key: string): string | undefined {
  try {
    return atob(key.replaceAll("-", "+").replaceAll("_", "/"));
  } catch (error) {
    if (error instanceof DOMException) return undefined;
    throw error;
  }
}

function keyOf(bytes: string): string {
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The directories from the top down to this one. `path` is the same path as the server writes it for people. */
export function pathSteps(key: string | null, path: string | null): readonly PathStep[] {
  const bytes = key === null ? undefined : bytesOf(key);
  if (bytes === undefined || key === null) return [];
  const parts = bytes.split("/");
  const names = (path ?? "").split("/");
  // What cannot be taken apart is one step.
  if (names.length !== parts.length) return [{ name: path ?? key, key }];
  return names.map((name, i) => ({ name, key: keyOf(parts.slice(0, i + 1).join("/")) }));
}

/** When an archive was begun, by its name; null where it has another name. */
export function archiveWallMs(name: string): number | null {
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3})Z\b/.exec(name);
  if (found === null) return null;
  const [, day, hour, minute, second, ms] = found;
  const wallMs = Date.parse(`${day}T${hour}:${minute}:${second}.${ms}Z`);
  return Number.isNaN(wallMs) ? null : wallMs;
}

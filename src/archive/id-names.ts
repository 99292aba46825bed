/**
 * Names of user and group ids from the text of /etc/passwd and /etc/group: no name service, so that a directory server
 * that does not answer cannot hold up a backup, and the same ids give the same bytes all through a run.
 */

/** `name:password:id:…` per line; the first name of an id counts, lines that are something else do not. */
export function parseIdNames(text: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name, , id] = line.split(":");
    if (name === undefined || name === "" || id === undefined || !/^\d{1,10}$/.test(id)) continue;
    const number = Number(id);
    if (!names.has(number)) names.set(number, name);
  }
  return names;
}

/** The time zone of this machine, as a name of the IANA database, asked anew each time: an administrator may change it. */
import { readlinkSync } from "node:fs";
import { errnoName } from "#base/errors.ts";

const LOCALTIME = "/etc/localtime";
const DATABASE = "/zoneinfo/";

export function localZone(env: Readonly<Record<string, string | undefined>>): string {
  const fallback = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return [env["TZ"]?.replace(/^:/, ""), linkedZone(), fallback].find(isZone) ?? "UTC";
}

/** What /etc/localtime points to; a copy of a file has no name. */
function linkedZone(): string | undefined {
  try {
    const target = readlinkSync(LOCALTIME);
    const at = target.indexOf(DATABASE);
    return at < 0 ? undefined : target.slice(at + DATABASE.length);
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}

function isZone(name: string | undefined): name is string {
  if (name === undefined || name === "") return false;
  try {
    return Intl.DateTimeFormat("en", { timeZone: name }) instanceof Intl.DateTimeFormat;
  } catch {
    return false; // A rule like CET-1CEST, a path, or a mistake.
  }
}

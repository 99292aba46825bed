/** What an answer has in common with the one before stays the same object, so that only what changed is drawn again. Pure. */

type Json = string | number | boolean | null | readonly Json[] | JsonRecord;
interface JsonRecord {
  readonly [name: string]: Json;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isRecord(value: Json | undefined): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without an allocation, for it looks at every value of every answer. */
function equal(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (isList(a)) {
    if (!isList(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i += 1) if (!equal(a[i], b[i])) return false;
    return true;
  }
  if (isList(b)) return false;
  let left = 0;
  for (const name in b) if (Object.hasOwn(b, name)) left += 1;
  for (const name in a) {
    if (!Object.hasOwn(a, name)) continue;
    if (!equal(a[name], b[name])) return false;
    left -= 1;
  }
  return left === 0;
}

function sharedJson(before: Json | undefined, after: Json): Json {
  if (before === undefined) return after;
  if (equal(before, after)) return before;
  if (isList(before) && isList(after)) return after.map((value, i) => sharedJson(before[i], value));
  if (!isRecord(before) || !isRecord(after)) return after;
  return Object.fromEntries(Object.entries(after).map(([name, value]) => [name, sharedJson(before[name], value)]));
}

/** `after`, with every part that equals its part of `before` taken from there. Both as JSON gives them. */
export function shared<T>(before: T | null, after: T): T {
  return sharedJson(before as Json, after as Json) as T;
}

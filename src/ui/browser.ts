/** What the browser has that is no page: its clock, its languages, what it keeps for us. The only file that asks for time. */

/** Wall milliseconds of the viewer's clock, which may be wrong: ages are counted by the server's. */
export function browserNow(): number {
  return Date.now();
}

const YEAR_S = 365 * 86_400;

/** Keeps a choice for the next visit, null forgets it. A cookie, which comes back with the page (first.ts): a browser that refuses forgets. */
export function remember(name: "language" | "theme", value: string | null): void {
  const kept = value === null ? "=; Max-Age=0" : `=${value}; Max-Age=${YEAR_S}`;
  // biome-ignore lint/suspicious/noDocumentCookie: not every browser has the Cookie Store, and none has it over plain HTTP.
  document.cookie = `nbackup_${name}${kept}; Path=/; SameSite=Lax`;
}

/** Saves text as a file of the viewer. */
export function saveText(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** What the browser has that is no page: its clock, its languages, what it keeps for us. The only file that asks for time. */

/** Wall milliseconds of the viewer's clock, which may be wrong: ages are counted by the server's. */
export function browserNow(): number {
  return Date.now();
}

/** What was kept under a name; null also where the browser keeps nothing for pages. */
export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(`nbackup.${name}`);
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

/** Keeps a choice for the next visit; a browser that refuses forgets it, and the page works all the same. */
export function remember(name: string, value: string | null): boolean {
  try {
    if (value === null) localStorage.removeItem(`nbackup.${name}`);
    else localStorage.setItem(`nbackup.${name}`, value);
    return true;
  } catch (error) {
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/** Saves text as a file of the viewer. */
export function saveText(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

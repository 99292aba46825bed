/** Puts values into a text of the page. Pure. */

/** `{name}` becomes its value; one that nobody gave stays, so that it is seen. */
export function fill(text: string, values: Readonly<Record<string, string | number>> = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** What the server wrote into the page, for its first view. Read once, before anything else of the page runs, and taken out of it: it is old soon. */
import type { FirstView } from "#web/api-types.ts";

function read(): FirstView | null {
  const inert = document.querySelector<HTMLTemplateElement>("template#first");
  inert?.remove();
  const text = inert?.content.textContent ?? "";
  return text === "" ? null : JSON.parse(text);
}

/** Null where there is nothing: a page that something else serves. */
export const first = read();

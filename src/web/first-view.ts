/**
 * The page with its first answers in it, so that a browser draws the overview without asking for anything but the page's own files.
 * They stand as text in an inert element: JSON in which no character means anything to HTML.
 */
import type { FirstView } from "./api-types.ts";

/** What the page's own file has for them. */
const PLACE = '<template id="first"></template>';

/** Cookies of the page itself, for a year: a browser's other stores keep the first view waiting. They mean nothing to the server. */
const CHOICES = { language: ["en", "pt"], theme: ["light", "dark"] } as const;

export function chosenBy(cookies: string | undefined): FirstView["chosen"] {
  const told = new Set((cookies ?? "").split(";").map((cookie) => cookie.trim()));
  const of = (name: keyof typeof CHOICES): string | null =>
    CHOICES[name].find((value) => told.has(`nbackup_${name}=${value}`)) ?? null;
  return { language: of("language"), theme: of("theme") };
}

/** Throws when the page has no place for them. */
export function withFirstView(html: string, first: FirstView): string {
  const at = html.indexOf(PLACE);
  if (at < 0) throw new Error("the page has no place for its first answers");
  const inside = at + PLACE.indexOf("</");
  return `${html.slice(0, inside)}${inert(first)}${html.slice(inside)}`;
}

/** A name of an agent may be markup; here it is `\u003c…`, which only a reader of JSON makes a character of. */
function inert(value: object): string {
  return JSON.stringify(value).replaceAll(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
}

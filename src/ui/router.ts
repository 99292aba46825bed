/** Where the page is: follows links inside the page and the browser's back and forward without loading anything again. */
import { batch, computed, signal } from "@preact/signals";
import { parseQuery, type Query, queryText } from "./filters.ts";
import { parsePath } from "./routes.ts";

const path = signal(location.pathname);
const search = signal(location.search);

export const route = computed(() => parsePath(path.value));
export const query = computed(() => parseQuery(search.value));

function read(): void {
  batch(() => {
    path.value = location.pathname;
    search.value = location.search;
  });
}

/** Goes to another view: the screen begins at its top, and a screen reader at its heading. */
function go(url: string): void {
  history.pushState(null, "", url);
  read();
  scrollTo(0, 0);
  requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true }));
}

/** Changes filters of this view: no new step for the back button. */
export function setQuery(change: Readonly<Record<string, string | null>>): void {
  const next: Query = parseQuery(queryText({ ...query.value, ...change }));
  history.replaceState(null, "", `${path.value}${queryText(next)}`);
  read();
}

function isPlain(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}

/** Takes clicks on links into the page; those with `download` or into the API are the browser's. */
function onClick(event: MouseEvent): void {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (link === null || event.defaultPrevented || !isPlain(event)) return;
  const url = new URL(link.href);
  const hash = link.getAttribute("href")?.startsWith("#") === true;
  if (hash || link.hasAttribute("download") || url.origin !== location.origin || url.pathname.startsWith("/api/"))
    return;
  event.preventDefault();
  go(url.pathname + url.search);
}

export function startRouter(): void {
  addEventListener("popstate", read);
  document.addEventListener("click", onClick);
}

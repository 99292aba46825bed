/** Starts the page: takes what came with it, shows the view of the URL, opens the live stream. */
import { render } from "preact";
import type { FirstView } from "#web/api-types.ts";
import { access, askAccess } from "./api.ts";
import { prepareCharts } from "./chart.tsx";
import { followSystem } from "./i18n.ts";
import { startRouter } from "./router.ts";
import { Shell } from "./shell.tsx";
import { takeFirst } from "./live.ts";
import { takeAnswer } from "./resource.ts";
import { startClock, startStream } from "./stream.ts";

/** What the server wrote into the page, taken out of it: it is old soon. Null where there is nothing, as in a page that something else serves. */
function firstView(): FirstView | null {
  const inert = document.querySelector<HTMLTemplateElement>("template#first");
  inert?.remove();
  const text = inert?.content.textContent ?? "";
  return text === "" ? null : JSON.parse(text);
}

function takeFirstView(first: FirstView): void {
  access.value = first.access;
  takeFirst(first);
  if (first.overview !== null) takeAnswer("/api/v1/overview", first.overview);
}

/** The first view is drawn by then. */
const CHARTS_AFTER_MS = 300;

const place = document.getElementById("app");
if (place === null) throw new Error("the page has no place to be drawn in");

followSystem();
startRouter();
startClock();
const first = firstView();
if (first === null) await askAccess();
else takeFirstView(first);
render(<Shell />, place);
setTimeout(() => void prepareCharts(), CHARTS_AFTER_MS);
if (access.value === null || !access.value.passwordNeeded || access.value.loggedIn) startStream();

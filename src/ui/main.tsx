/** Starts the page: takes what came with it, shows the view of the URL, opens the live stream. */
import { render } from "preact";
import type { FirstView } from "#web/api-types.ts";
import { access, askAccess } from "./api.ts";
import { prepareCharts } from "./chart.tsx";
import { first } from "./first.ts";
import { followSystem } from "./i18n.ts";
import { startRouter } from "./router.ts";
import { Shell } from "./shell.tsx";
import { takeFirst } from "./live.ts";
import { takeAnswer } from "./resource.ts";
import { startClock, startStream } from "./stream.ts";

function takeFirstView(view: FirstView): void {
  access.value = view.access;
  takeFirst(view);
  if (view.overview !== null) takeAnswer("/api/v1/overview", view.overview);
}

/** The first view is drawn by then: what comes live, and what draws charts, does not keep it waiting. */
const STREAM_AFTER_MS = 80;
const CHARTS_AFTER_MS = 300;

const place = document.getElementById("app");
if (place === null) throw new Error("the page has no place to be drawn in");

followSystem();
startRouter();
startClock();
if (first !== null) takeFirstView(first);
// A link on another site's page brings no cookie of ours with it: who seems not logged in may be.
if (first === null || (first.access.passwordNeeded && !first.access.loggedIn)) await askAccess();
render(<Shell />, place);
setTimeout(prepareCharts, CHARTS_AFTER_MS);
setTimeout(() => {
  if (access.value === null || !access.value.passwordNeeded || access.value.loggedIn) startStream();
}, STREAM_AFTER_MS);

/** Starts the page: asks who may do what, shows the view of the URL, opens the live stream. */
import { render } from "preact";
import { access, askAccess } from "./api.ts";
import { followSystem } from "./i18n.ts";
import { startRouter } from "./router.ts";
import { Shell } from "./shell.tsx";
import { startClock, startStream } from "./stream.ts";

const place = document.getElementById("app");
if (place === null) throw new Error("the page has no place to be drawn in");

followSystem();
startRouter();
startClock();
await askAccess();
render(<Shell />, place);
if (access.value === null || !access.value.passwordNeeded || access.value.loggedIn) startStream();

/** Hands what draws charts to the page, as a script of its own: no bundle of the page's has to be divided for it. */
import { draw } from "./plot.ts";

globalThis.nbackupDraw = draw;

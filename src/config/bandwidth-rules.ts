/** Windows of a bandwidth timetable must not overlap: which of two limits counts nobody could know. */
import { overlap } from "#base/week-window.ts";
import { timeText, toWindow, windowSchema } from "./bandwidth-schema.ts";
import { pick } from "./parts.ts";
import { itemsAt, type RuleReport } from "./rules.ts";
import type { BandwidthWindow } from "./types.ts";

export function checkBandwidth(content: unknown, report: RuleReport): void {
  for (const [index, entry] of itemsAt(content, "backups").entries()) {
    const before: { readonly at: number; readonly window: BandwidthWindow }[] = [];
    for (const [at, item] of itemsAt(entry, "bandwidth_limit").entries()) {
      const raw = pick(windowSchema, item);
      if (raw === undefined) continue;
      const window = toWindow(raw);
      const other = before.find((one) => overlap(one.window, window));
      before.push({ at, window });
      if (other === undefined) continue;
      report(
        ["backups", index, "bandwidth_limit", at],
        `found ${spanText(window)}, which overlaps ${spanText(other.window)} (bandwidth_limit[${other.at}]), allowed: windows apart from each other`,
        { hint: "Let the one end where the other begins, or give them different days." },
      );
    }
  }
}

function spanText({ fromMinute, toMinute }: BandwidthWindow): string {
  return `${timeText(fromMinute)} to ${timeText(toMinute)}`;
}

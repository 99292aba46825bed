/**
 * What the page costs: `bun scripts/bench-page.ts [--sections first,updates,server] [--runs 9] [--seconds 12]`. `first`: how soon the first view is
 * drawn and how many bytes it takes; `updates`: tasks and script of the page while a session of 255 streams runs on a server that knows 1,000 agents,
 * 10,000 ended sessions and as many events; `server`: processor time of the server for one page that follows a backup. The compiled
 * server and Debian's Chromium, on the loopback; the tables are those of docs/benchmarks.md.
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { measureFirstView } from "./bench/page-first.ts";
import { measureStream } from "./bench/page-stream.ts";
import { measureUpdates } from "./bench/page-updates.ts";
import { ensurePackages, TEST_PACKAGES } from "./lib/debian.ts";
import { runMain, Sentence } from "./lib/run.ts";

const SECTIONS = { first: measureFirstView, updates: measureUpdates, server: measureStream } as const;

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { sections: text, runs: text, seconds: text } });
  const runs = Number(values.runs ?? 9);
  const seconds = Number(values.seconds ?? 12);
  if (!(Number.isInteger(runs) && runs > 0 && seconds > 1)) throw new Sentence("--runs and --seconds are numbers.");
  await ensurePackages(TEST_PACKAGES.filter(({ name }) => name === "chromium"));
  for (const name of (values.sections ?? Object.keys(SECTIONS).join(",")).split(",")) {
    if (name !== "first" && name !== "updates" && name !== "server") {
      throw new Sentence(`There is no section ${name}: first, updates, server.`);
    }
    const load = (): string => loadavg()[0]?.toFixed(1) ?? "";
    const before = load();
    const table = await SECTIONS[name]({ runs, seconds });
    console.log(`\n#### ${name} (load before and after: ${before}, ${load()})\n\n${table.join("\n")}`);
  }
  return 0;
}

await runMain(main);

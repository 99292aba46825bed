/**
 * `bun scripts/record-links.ts [NAME…]`: runs the compiled programs over shaped links and keeps the windows that the autoscaler
 * saw as test/fixtures/links/NAME.json; without names all of them, which takes nine minutes. Every connection goes through a
 * proxy that holds it, or all together, to a rate. What was recorded must give the same decisions when it is judged again.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ScaleSample } from "#agent/autoscaler.ts";
import { WINDOW_MESSAGE } from "#agent/stream-director.ts";
import { KiB, MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import {
  encodeLink,
  type RecordedLink,
  type RecordedWindow,
  recordedPath,
  replay,
} from "#test/support/recorded-link.ts";
import { Site } from "#test/support/site.ts";
import { ROOT } from "./lib/project.ts";
import { runMain, Sentence } from "./lib/run.ts";

interface Shape {
  readonly name: string;
  readonly about: string;
  readonly mode: RecordedLink["mode"];
  readonly max: number;
  readonly seconds: number;
  /** `random` cannot be compressed and is made as fast as it is read; `text` is compressed hard by one thread. */
  readonly source: "random" | "text";
  /** Bytes per second of each connection at that time, asked for again every half second; of all of them together. */
  readonly perFlow?: (atSeconds: number) => number;
  readonly shared?: number;
}

/** Each connection's rate changes all the time, and none waits for the others. */
const jitter = (): number => (0.3 + 2.5 * Math.random()) * MiB;
/** For the producer of text, which makes some hundred kilobytes a second. */
const comesAndGoes = (atSeconds: number): number => (atSeconds >= 25 && atSeconds < 50 ? 8 * MiB : 40 * KiB);

const BOTH = ["efficiency", "adaptive"] as const;
const SHAPES: readonly Shape[] = [
  ...BOTH.map((mode): Shape => ({
    ...{ name: `sixteen-flows-${mode}`, about: "each connection carries 2 MiB/s", mode, max: 16, seconds: 35 },
    ...{ source: "random", perFlow: () => 2 * MiB },
  })),
  {
    ...{ name: "forty-flows-efficiency", about: "each connection carries 512 KiB/s", mode: "efficiency", max: 40 },
    ...{ seconds: 50, source: "random", perFlow: () => MiB / 2 },
  },
  ...BOTH.map((mode): Shape => ({
    ...{ name: `shared-line-${mode}`, about: "all connections together carry 12 MiB/s", mode, max: 16, seconds: 60 },
    ...{ source: "random", shared: 12 * MiB },
  })),
  ...BOTH.map((mode): Shape => ({
    ...{ name: `shared-flows-${mode}`, about: "each connection carries 2 MiB/s, all together 12 MiB/s", mode, max: 32 },
    ...{ seconds: 50, source: "random", perFlow: () => 2 * MiB, shared: 12 * MiB },
  })),
  ...BOTH.map((mode): Shape => ({
    ...{
      name: `jittery-flows-${mode}`,
      about: "each connection carries 0.3 to 2.8 MiB/s, changing twice a second",
      mode,
    },
    ...{ max: 12, seconds: 50, source: "random", perFlow: jitter },
  })),
  {
    ...{ name: "up-down-up-efficiency", mode: "efficiency", max: 12, seconds: 80, source: "text" },
    about: "each connection carries 40 KiB/s, from second 25 to 50 8 MiB/s; the producer is a slow compressor",
    perFlow: comesAndGoes,
  },
];

async function main(): Promise<number> {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !SHAPES.some((shape) => shape.name === name));
  if (unknown !== undefined)
    throw new Sentence(`No link is called ${unknown}. There are ${SHAPES.map(({ name }) => name).join(", ")}.`);
  const site = await Site.make();
  try {
    makeSources(site);
    const storages = { fast: {}, hard: { compression_mode: "zst", compression_level: 19 } };
    const server = await site.startServer({ storages });
    for (const shape of SHAPES) {
      if (names.length > 0 && !names.includes(shape.name)) continue;
      const link = await record(site, server.port, shape);
      await Bun.write(recordedPath(shape.name), encodeLink(link));
      console.log(`${shape.name}: ${link.windows.map(({ next }) => next).join(" ")}`);
    }
  } finally {
    await site.remove();
  }
  return 0;
}

function makeSources(site: Site): void {
  for (const source of ["random", "text"]) mkdirSync(site.at(source));
  const bytes = new Uint8Array(64 * MiB);
  for (let at = 0; at < bytes.length; at += 64 * KiB) crypto.getRandomValues(bytes.subarray(at, at + 64 * KiB));
  for (let file = 0; file < 20; file += 1) writeFileSync(site.at(`random/${file}`), bytes);
  const sources = readdirSync(path.join(ROOT, "src"), { recursive: true }).map(String);
  const text = Buffer.concat(
    sources.filter((name) => name.endsWith(".ts")).map((name) => readFileSync(path.join(ROOT, "src", name))),
  );
  // Chunks of different files are compressed apart, so that copies are as good as others.
  for (let file = 0; file < 150; file += 1) writeFileSync(site.at(`text/${file}`), text);
}

async function record(site: Site, port: number, shape: Shape): Promise<RecordedLink> {
  const { name, about, mode, max, seconds, source, perFlow, shared } = shape;
  const startedMs = performance.now();
  const atSeconds = (): number => (performance.now() - startedMs) / 1000;
  const proxy = new FaultProxy({
    ...{ targetPort: port, receiveBufferBytes: 64 * KiB },
    onOpen: (connection) => {
      if (perFlow !== undefined) connection.throttle(perFlow(atSeconds()));
    },
  });
  if (shared !== undefined) proxy.throttleAll(shared);
  const shaping = setInterval(() => {
    if (perFlow !== undefined) for (const connection of proxy.connections) connection.throttle(perFlow(atSeconds()));
  }, 500);
  const entry = { name, storage: source === "text" ? "hard" : "fast", sources: [{ path: site.at(source) }] };
  const file = await site.agentConfig({
    ...{ port: proxy.port, logging: { level: "debug" }, resources: { workers: source === "text" ? 1 : 2 } },
    backups: [{ ...entry, parallels: max, auto_scaler: { enabled: true, mode } }],
    resume: { buffer_size: "128mb", chunk_size: source === "text" ? "256kb" : "512kb" },
  });
  const agent = site.startAgent(file, ["--once", "--json"]);
  await Bun.sleep(seconds * 1000);
  const running = agent.running;
  agent.kill("SIGKILL");
  const { stderr } = await agent.end();
  clearInterval(shaping);
  proxy.stop();
  if (!running) throw new Sentence(`${name}: the agent ended before ${seconds} s had passed:\n${stderr.slice(-2000)}`);
  const link = { name, about, mode, max, windows: windowsIn(stderr) };
  if (replay(link, mode).join() !== link.windows.map(({ next }) => next).join())
    throw new Sentence(`${name}: the recording gives other decisions than the agent made.`);
  return link;
}

function windowsIn(log: string): RecordedWindow[] {
  return log
    .split("\n")
    .filter((line) => line.startsWith("{") && line.includes(WINDOW_MESSAGE))
    .map((line): RecordedWindow => {
      // The line of stream-director.ts.
      const { active, next, ...sample } = JSON.parse(line) as ScaleSample & { active: number; next: number };
      return { active, next, sample };
    });
}

await runMain(main);

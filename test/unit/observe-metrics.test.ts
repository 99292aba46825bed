import { describe, expect, test } from "bun:test";
import { Metrics } from "#observe/metrics.ts";

describe("metrics", () => {
  test("count by labels and in total, and show 0 before anything happened", () => {
    const metrics = new Metrics();
    const plain = metrics.counter("chunks", "Chunks");
    const labelled = metrics.counter("ends", "Ends", ["outcome"]);
    expect(metrics.snapshot()).toEqual([
      { type: "counter", name: "chunks", help: "Chunks", samples: [{ labels: {}, value: 0 }] },
      { type: "counter", name: "ends", help: "Ends", samples: [] },
    ]);
    plain.add(2);
    labelled.add(1, "committed");
    labelled.add(2, "expired");
    labelled.add(1, "committed");
    expect([plain.total, labelled.total]).toEqual([2, 4]);
    expect(metrics.snapshot()[1]).toMatchObject({
      samples: [
        { labels: { outcome: "committed" }, value: 2 },
        { labels: { outcome: "expired" }, value: 2 },
      ],
    });
  });

  test("ask a gauge only when somebody looks", () => {
    const metrics = new Metrics();
    let asked = 0;
    metrics.gauge("sessions", "Sessions", () => {
      asked += 1;
      return asked;
    });
    metrics.gauge("free", "Free", () => [{ labels: { storage: "main" }, value: 7 }]);
    expect(asked).toBe(0);
    const [sessions, free] = metrics.snapshot();
    expect(sessions).toMatchObject({ samples: [{ labels: {}, value: 1 }] });
    expect(free).toMatchObject({ samples: [{ labels: { storage: "main" }, value: 7 }] });
  });

  test("put values into the bucket of the first bound that is not below them", () => {
    const metrics = new Metrics();
    const times = metrics.histogram("sync", "Syncs", [0.1, 1], ["storage"]);
    for (const value of [0.05, 0.1, 0.5, 7]) times.observe(value, "main");
    expect(metrics.snapshot()[0]).toMatchObject({
      bounds: [0.1, 1],
      samples: [{ labels: { storage: "main" }, counts: [2, 1, 1], count: 4, sum: 7.65 }],
    });
    expect([times.count, times.sum]).toEqual([4, 7.65]);
  });

  test("stay bounded when label values are invented", () => {
    const metrics = new Metrics();
    const refused = metrics.counter("refused", "Refused", ["agent"]);
    for (let i = 0; i < 10_000; i += 1) refused.add(1, `agent-${i}`);
    const samples = metrics.snapshot()[0]?.samples ?? [];
    expect(samples.length).toBeLessThan(2100);
    expect(samples.at(-1)).toEqual({ labels: { agent: "other" }, value: 8000 });
    expect(refused.total).toBe(10_000);
  });

  test("refuse a name that exists and labels that do not fit", () => {
    const metrics = new Metrics();
    const counter = metrics.counter("a", "A", ["b"]);
    expect(() => metrics.gauge("a", "A", () => 1)).toThrow("exists already");
    expect(() => counter.add(1)).toThrow("0 label values");
  });
});

test("a metric that is asked for has no more samples than a scrape can bear, the first of them", () => {
  const metrics = new Metrics();
  const many = Array.from({ length: 30_000 }, (_, n) => ({ labels: { agent: `${n}` }, value: n }));
  metrics.gauge("many", "", () => many);
  metrics.counted("grown_total", "", () => 7);
  const [gauge, counter] = metrics.snapshot();
  expect(gauge?.samples).toHaveLength(20_000);
  expect(gauge?.samples[0]?.labels).toEqual({ agent: "0" });
  expect(counter).toMatchObject({ type: "counter", samples: [{ value: 7 }] });
});

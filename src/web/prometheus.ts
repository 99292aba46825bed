/**
 * The server's metrics as the text that Prometheus reads. There is one place where things are counted (observe/metrics.ts); what it holds is
 * handed to prom-client as it is when somebody asks, and prom-client knows how it is written.
 */
import { type Metric as ClientMetric, Registry } from "prom-client";
import type { HistogramSample, Labels, Metric } from "#observe/metrics.ts";

export interface PrometheusText {
  readonly contentType: string;
  readonly text: string;
}

export async function prometheusText(metrics: readonly Metric[]): Promise<PrometheusText> {
  const registry = new Registry();
  for (const metric of metrics) registry.registerMetric(given(metric));
  return { contentType: registry.contentType, text: await registry.metrics() };
}

interface Value {
  readonly metricName?: string;
  readonly labels: Labels | Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** All that a registry asks of a metric is `name` and `get`; the library's types want the methods that count, too, and nobody counts here. */
function given(metric: Metric): ClientMetric {
  const { name, help, type } = metric;
  const values: readonly Value[] =
    metric.type === "histogram"
      ? metric.samples.flatMap((sample) => histogramValues(name, metric.bounds, sample))
      : metric.samples;
  const told = { name, help, type, values, aggregator: "sum" };
  return { name, get: () => Promise.resolve(told) } as unknown as ClientMetric;
}

function histogramValues(name: string, bounds: readonly number[], sample: HistogramSample): Value[] {
  const { labels, counts, count, sum } = sample;
  let below = 0;
  const buckets = bounds.map((bound, index): Value => {
    below += counts[index] ?? 0;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

/**
 * Counters, gauges and histograms as plain named numbers. Counting is constant work; what is dear to know is asked for
 * only when somebody looks. How they are shown, in a log line or as text for a scraper, is decided elsewhere.
 */
import { assert } from "#base/assert.ts";

/** Different label values of one metric; further ones are counted together as `other`. */
const LABEL_SETS_MAX = 2_000;
const OTHER = "other";
/** Samples of a metric that is asked for: what is told by agents must not grow a scrape without end. The first ones count. */
const SAMPLES_MAX = 20_000;

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface HistogramSample {
  readonly labels: Labels;
  /** By bound, and one more for what is above them all; not cumulative. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

export type Metric =
  | {
      readonly type: "counter" | "gauge";
      readonly name: string;
      readonly help: string;
      readonly samples: readonly Sample[];
    }
  | {
      readonly type: "histogram";
      readonly name: string;
      readonly help: string;
      /** Upper ends, ascending. */
      readonly bounds: readonly number[];
      readonly samples: readonly HistogramSample[];
    };

export interface Counter {
  /** Label values in the order of their names. */
  add(count: number, ...labels: string[]): void;
  /** The sum over all labels. */
  readonly total: number;
}

export interface Histogram {
  observe(value: number, ...labels: string[]): void;
  readonly count: number;
  readonly sum: number;
}

export class Metrics {
  readonly #metrics = new Map<string, () => Metric>();

  counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    const values = new Labelled<{ value: number }>(labelNames, () => ({ value: 0 }));
    let total = 0;
    this.#add(name, () => ({
      ...{ type: "counter", name, help },
      samples: values.all().map(({ labels, held }) => ({ labels, value: held.value })),
    }));
    return {
      add(count, ...labels): void {
        total += count;
        values.of(labels).value += count;
      },
      get total(): number {
        return total;
      },
    };
  }

  /** `read` is asked whenever somebody looks. */
  gauge(name: string, help: string, read: () => number | readonly Sample[]): void {
    this.#asked("gauge", name, help, read);
  }

  /** The same of what only grows, and is counted elsewhere. */
  counted(name: string, help: string, read: () => number | readonly Sample[]): void {
    this.#asked("counter", name, help, read);
  }

  histogram(name: string, help: string, bounds: readonly number[], labelNames: readonly string[] = []): Histogram {
    const values = new Labelled(labelNames, () => ({
      counts: Array.from({ length: bounds.length + 1 }, () => 0),
      ...{ count: 0, sum: 0 },
    }));
    let [count, sum] = [0, 0];
    this.#add(name, () => ({
      ...{ type: "histogram", name, help, bounds },
      samples: values.all().map(({ labels, held }) => ({ labels, ...held, counts: [...held.counts] })),
    }));
    return {
      observe(value, ...labels): void {
        const held = values.of(labels);
        const at = bounds.findIndex((bound) => value <= bound);
        const bucket = at < 0 ? bounds.length : at;
        held.counts[bucket] = (held.counts[bucket] ?? 0) + 1;
        held.count += 1;
        held.sum += value;
        count += 1;
        sum += value;
      },
      get count(): number {
        return count;
      },
      get sum(): number {
        return sum;
      },
    };
  }

  /** Everything as it is now, in the order in which it was made. */
  snapshot(): Metric[] {
    return [...this.#metrics.values()].map((read) => read());
  }

  #asked(type: "counter" | "gauge", name: string, help: string, read: () => number | readonly Sample[]): void {
    this.#add(name, () => {
      const value = read();
      const samples = typeof value === "number" ? [{ labels: {}, value }] : value.slice(0, SAMPLES_MAX);
      return { type, name, help, samples };
    });
  }

  #add(name: string, read: () => Metric): void {
    assert(!this.#metrics.has(name), `metric ${name} exists already`);
    this.#metrics.set(name, read);
  }
}

class Labelled<T> {
  readonly #names: readonly string[];
  readonly #make: () => T;
  readonly #held = new Map<string, { readonly labels: Labels; readonly held: T }>();

  constructor(names: readonly string[], make: () => T) {
    this.#names = names;
    this.#make = make;
    // What has no labels is shown as 0 before anything happened.
    if (names.length === 0) this.of([]);
  }

  of(values: readonly string[]): T {
    assert(values.length === this.#names.length, `${values.length} label values for ${this.#names.join(", ")}`);
    const known = this.#held.get(values.join("\0"));
    if (known !== undefined) return known.held;
    if (this.#held.size >= LABEL_SETS_MAX && values.some((value) => value !== OTHER)) {
      return this.of(values.map(() => OTHER));
    }
    const labels = Object.fromEntries(this.#names.map((name, index) => [name, values[index] ?? ""]));
    const held = this.#make();
    this.#held.set(values.join("\0"), { labels, held });
    return held;
  }

  all(): { readonly labels: Labels; readonly held: T }[] {
    return [...this.#held.values()];
  }
}

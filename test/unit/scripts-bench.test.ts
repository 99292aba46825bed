/** The benchmark's arithmetic: medians, paired ratios, the table and the verdict on the bars. */
import { describe, expect, test } from "bun:test";
import { judgeBars, judgeDurability, judgeGarbage } from "#scripts/bench/bars.ts";
import { seededChance } from "#scripts/bench/chance.ts";
import type { Contender, Outcome } from "#scripts/bench/contender.ts";
import type { Corpus, CorpusName } from "#scripts/bench/corpora.ts";
import { nbackupContender } from "#scripts/bench/nbackup.ts";
import { markdownTable, reportCorpus } from "#scripts/bench/report.ts";
import { median, pairedRatio, summarize } from "#scripts/bench/statistics.ts";

function corpus(name: CorpusName): Corpus {
  return { name, directory: "/c", description: "made up", files: 50_000, directories: 10, bytes: 200e6 };
}

function contender(name: string, baseline?: string): Contender {
  return { name, description: name, baseline, run: () => Promise.reject(new Error("not run")) };
}

function outcome(wallSeconds: number, archiveBytes: number, commitSeconds?: number): Outcome {
  const processes = [{ name: "p", cpuSeconds: wallSeconds * 2, peakBytes: 5e6 }];
  return { wallSeconds, processes, archiveBytes, archive: undefined, commitSeconds };
}

describe("statistics", () => {
  test("a median is the middle value or the mean of the two middle ones", () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5]);
    expect(median([])).toBeNaN();
  });
  test("spread is the range over the median", () => {
    expect(summarize([2, 1, 4])).toEqual({ median: 2, min: 1, max: 4, spread: 1.5 });
  });
  test("a paired ratio compares what ran in the same round", () => {
    expect(pairedRatio([4, 20], [2, 10])).toEqual({ median: 2, min: 2, max: 2, spread: 0 });
  });
  test("the same seed gives the same chance", () => {
    const [a, b, c] = [seededChance(7), seededChance(7), seededChance(8)];
    const take = (chance: typeof a): readonly number[] => Array.from({ length: 5 }, () => chance.below(1000));
    const first = take(a);
    expect(take(b)).toEqual(first);
    expect(take(c)).not.toEqual(first);
  });
});

describe("a contender's name", () => {
  test("says mode, level and streams of nbackup", () => {
    expect(nbackupContender("nbackup-gzip6-p4")?.description).toBe("nbackup, gzip level 6, parallels: 4");
    expect(nbackupContender("nbackup-zst1-p0")?.baseline).toBe("tar|zstd-1");
    expect(nbackupContender("tar|pigz-1")).toBeUndefined();
  });
});

describe("a report", () => {
  const report = reportCorpus(corpus("source"), [
    { contender: contender("tar|pigz-1"), outcomes: [outcome(4, 100), outcome(8, 100)] },
    { contender: contender("nbackup-gzip1-p1", "tar|pigz-1"), outcomes: [outcome(2, 90), outcome(2, 90)] },
  ]);
  test("has speed and size against the baseline of the same rounds", () => {
    const row = report.rows[1];
    expect([row?.speedup?.median, row?.speedup?.min, row?.sizeRatio]).toEqual([3, 2, 0.9]);
    expect([row?.cpuSeconds.median, row?.bytesPerSecond, row?.filesPerSecond]).toEqual([4, 100e6, 25_000]);
  });
  test("escapes the bar in a cell of its table", () => {
    expect(markdownTable(["a"], [["tar|x"]])).toBe("| a      |\n| ------ |\n| tar\\|x |");
  });
});

describe("the bars", () => {
  const small = (wall: number, size: number): ReturnType<typeof reportCorpus> =>
    reportCorpus(corpus("small"), [
      { contender: contender("tar|pigz-1"), outcomes: [outcome(3, 100)] },
      { contender: contender("tar|zstd-1"), outcomes: [outcome(2, 100)] },
      { contender: contender("nbackup-gzip1-p1", "tar|pigz-1"), outcomes: [outcome(wall, size)] },
      { contender: contender("nbackup-zst1-p1", "tar|zstd-1"), outcomes: [outcome(wall, size)] },
    ]);
  const verdicts = (wall: number, size: number): readonly boolean[] =>
    judgeBars([small(wall, size)]).map(({ met }) => met);
  test("are met by speed with a small enough archive", () => {
    expect(verdicts(1, 99)).toEqual([true, true, true]);
  });
  test("are not met when the archive is too big, however fast it was made", () => {
    expect(verdicts(1, 120)).toEqual([false, false, true]);
  });
  test("are not met when it is too slow", () => {
    expect(verdicts(2.9, 99)).toEqual([false, false, false]);
  });
  test("want the commit of a gigabyte within a second", () => {
    const big = (commit: number): ReturnType<typeof reportCorpus> =>
      reportCorpus(corpus("big"), [{ contender: contender("nbackup-gzip1-p1"), outcomes: [outcome(5, 100, commit)] }]);
    expect(judgeBars([big(0.4)]).map(({ met }) => met)).toEqual([true]);
    expect(judgeBars([big(1.4)]).map(({ met }) => met)).toEqual([false]);
  });
});

describe("the bars of durability and of garbage", () => {
  const seconds = summarize([1]);
  const load = { seconds: 60, connections: 1, handshakes: 1, refused: 0, bytes: 1 };
  const durable = (...ratios: number[]): ReturnType<typeof judgeDurability> =>
    judgeDurability([{ what: "x", syncedSeconds: seconds, unsyncedSeconds: seconds, ratio: summarize(ratios) }]);
  const garbage = (ratio: number, serverPeakBytes: number): readonly boolean[] =>
    judgeGarbage({
      ...{ what: "x", peacefulSeconds: seconds, besideSeconds: seconds, ratio: summarize([ratio]), serverPeakBytes },
      ...{ serverCpuShare: 0.1, crowdCpuShare: 0.1, load },
    }).map(({ met }) => met);
  test("let durable acknowledgements take a tenth of the throughput, by the median pair", () => {
    expect(durable(0.5, 0.9, 0.95)[0]).toMatchObject({ met: true, measured: "10.0 % (5.0 to 50.0)" });
    expect(durable(0.5, 0.89, 0.95)[0]?.met).toBe(false);
  });
  test("want half the speed beside garbage, and less than 300 MB", () => {
    expect(garbage(0.5, 299 * 2 ** 20)).toEqual([true, true]);
    expect(garbage(0.49, 300 * 2 ** 20)).toEqual([false, false]);
  });
});

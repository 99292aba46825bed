/** The totals of a test run are read from its report, and from nothing else. */
import { describe, expect, test } from "bun:test";
import { addTotals, failuresText, parseJunit, totalsLine } from "#scripts/lib/junit.ts";

const XML = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="5">
  <testsuite name="test/a.test.ts" file="test/a.test.ts">
    <testcase name="a > b passes" classname="" time="0.1" file="test/a.test.ts" line="2" assertions="1" />
    <testcase name="is skipped" classname="" time="0" file="test/a.test.ts" line="3" assertions="0">
      <skipped />
    </testcase>
    <testcase name="is still to write" classname="" time="0" file="test/a.test.ts" line="4" assertions="0">
      <skipped message="later" />
    </testcase>
    <testsuite name="group" file="test/a.test.ts">
      <testcase name="fails" classname="group" time="0" file="test/a.test.ts" line="5" assertions="1">
        <failure type="AssertionError" message="&lt;testcase file=&quot;no&quot; /&gt;">text</failure>
      </testcase>
    </testsuite>
  </testsuite>
  <testsuite name="test/b.test.ts" file="test/b.test.ts">
    <testcase name="passes" classname="" time="0" file="test/b.test.ts" line="2" assertions="1" />
  </testsuite>
</testsuites>
`;

describe("a report of bun test", () => {
  test("is counted test by test, nested groups too", () => {
    const { passed, skipped, failures } = parseJunit(XML);
    expect({ passed, skipped, failed: failures.length }).toEqual({ passed: 2, skipped: 2, failed: 1 });
  });
  test("names the files that really had tests in the run", () => {
    expect([...parseJunit(XML).files]).toEqual(["test/a.test.ts", "test/b.test.ts"]);
  });
  test("that is cut off counts as one more failure", () => {
    expect(parseJunit(XML.slice(0, -20)).failures).toHaveLength(2);
    expect(parseJunit("").failures).toEqual(["the report of bun test is cut off"]);
  });
});

describe("what failed", () => {
  const report = (failure: string): string =>
    `<testsuites><testcase name="is &lt;so&gt;" classname="a &gt; b" file="test/a.test.ts">${failure}</testcase></testsuites>`;

  test("is named with its file and group, and with what bun test says of it", () => {
    expect(parseJunit(XML).failures).toEqual(["test/a.test.ts: group > fails\ntext"]);
    const said = "Error: one &amp;lt; two&#10;  at test/a.test.ts:3:84&#10;";
    expect(parseJunit(report(`<failure type="Error" message="one">${said}</failure>`)).failures).toEqual([
      "test/a.test.ts: a > b > is <so>\nError: one &lt; two\n  at test/a.test.ts:3:84\n",
    ]);
  });
  test("without a text says its message, and without one its kind", () => {
    expect(parseJunit(report('<failure type="TimeoutError" message="test timed out" />')).failures).toEqual([
      "test/a.test.ts: a > b > is <so>\ntest timed out",
    ]);
    expect(parseJunit(report('<error type="Odd" />')).failures).toEqual(["test/a.test.ts: a > b > is <so>\nOdd"]);
  });
  test("is said again at the end of a run, cut where it is long", () => {
    expect(failuresText([])).toBe("");
    expect(failuresText(["one\n  at x\n", "two"])).toBe("\nWhat failed:\nFAILED one\n      at x\nFAILED two\n");
    expect(failuresText(["x".repeat(10_000)]).length).toBeLessThan(3_100);
  });
});

describe("the closing line", () => {
  test("says skipped tests only when there are any", () => {
    expect(totalsLine({ passed: 3, skipped: 0, failures: [] })).toBe("3 passed, 0 failed");
    const sum = addTotals({ passed: 3, skipped: 1, failures: ["a"] }, { passed: 1, skipped: 0, failures: ["b"] });
    expect(totalsLine(sum)).toBe("4 passed, 2 failed, 1 skipped");
  });
});

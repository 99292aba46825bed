/** The totals of a test run are read from its report, and from nothing else. */
import { describe, expect, test } from "bun:test";
import { addTotals, parseJunit, totalsLine } from "#scripts/lib/junit.ts";

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
    const { passed, failed, skipped } = parseJunit(XML);
    expect({ passed, failed, skipped }).toEqual({ passed: 2, failed: 1, skipped: 2 });
  });
  test("names the files that really had tests in the run", () => {
    expect([...parseJunit(XML).files]).toEqual(["test/a.test.ts", "test/b.test.ts"]);
  });
  test("that is cut off counts as one more failure", () => {
    expect(parseJunit(XML.slice(0, -20)).failed).toBe(2);
    expect(parseJunit("").failed).toBe(1);
  });
});

describe("the closing line", () => {
  test("says skipped tests only when there are any", () => {
    expect(totalsLine({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed");
    expect(totalsLine(addTotals({ passed: 3, failed: 0, skipped: 1 }, { passed: 1, failed: 2, skipped: 0 }))).toBe(
      "4 passed, 2 failed, 1 skipped",
    );
  });
});

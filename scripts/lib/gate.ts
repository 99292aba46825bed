/** The checks that need no running program: types, format, lint and dead code. What they check lies in their configs. */
import { BUN, nodeModulesBin, run } from "./run.ts";

interface Check {
  readonly name: string;
  readonly command: readonly string[];
}

const CHECKS: readonly Check[] = [
  { name: "types", command: [BUN, "check", "--no-pretty"] },
  { name: "types of the page", command: [BUN, "check", "--no-pretty", "-p", "src/ui"] },
  { name: "format", command: [BUN, "fmt", "--check"] },
  { name: "lint", command: [nodeModulesBin("biome"), "lint", "--error-on-warnings", "--max-diagnostics=200"] },
  { name: "dead code", command: [BUN, "--bun", nodeModulesBin("knip"), "--no-progress"] },
];

/** Runs all checks, prints a line for each and the findings of those that fail, and returns a text for each of these. */
export async function runGate(): Promise<readonly string[]> {
  const failures: string[] = [];
  for (const { name, command } of CHECKS) {
    const started = performance.now();
    const result = await run(command);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const ok = result.exitCode === 0;
    console.log(`${ok ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
    if (ok) continue;
    const findings = `${result.stdout}${result.stderr}`.trimEnd();
    console.log(findings);
    failures.push(`the check of ${name}\n${findings}`);
  }
  return failures;
}

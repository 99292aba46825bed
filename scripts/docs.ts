/**
 * `bun scripts/docs.ts` writes what in docs/ is made from the code: configuration.md from the schemas, and the second part of
 * troubleshooting.md from the error catalogue. Tests compare both with what it would write.
 */
import { configReference } from "#config/reference.ts";
import { errorReference, REFERENCE_MARK } from "./lib/error-reference.ts";
import { inProject } from "./lib/project.ts";
import { runMain, Sentence } from "./lib/run.ts";

async function main(): Promise<number> {
  await Bun.write(inProject("docs", "configuration.md"), configReference());
  const page = inProject("docs", "troubleshooting.md");
  const [byHand, made] = (await Bun.file(page).text()).split(REFERENCE_MARK);
  if (byHand === undefined || made === undefined) throw new Sentence(`${page} has no line ${REFERENCE_MARK}`);
  await Bun.write(page, byHand + errorReference());
  console.error("docs/configuration.md and docs/troubleshooting.md are made anew.");
  return 0;
}

await runMain(main);

/** The table of error codes in docs/operations.md, made from the catalogue; a test compares the two. */
import { CATALOGUE } from "#base/catalogue.ts";

/** One Markdown row per code, in the order of the catalogue. */
export function errorRows(): string[] {
  return Object.entries(CATALOGUE).map(
    ([code, { exit, retry, hint }]) => `| \`${code}\` | ${exit} | ${retry ? "yes" : "no"} | ${hint} |`,
  );
}

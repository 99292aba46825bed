/** The second part of docs/troubleshooting.md, made from the error catalogue: one section per code. A test compares the two. */
import { CATALOGUE, type ErrorCode } from "#base/catalogue.ts";
import { ERROR_PROSE } from "./error-prose.ts";

/** What comes before it in the page is written by hand. */
export const REFERENCE_MARK = "<!-- From here on made by scripts/docs.ts from the error catalogue. -->";

/** Alphabetical, because whoever has a code looks for it. */
const CODES = (Object.keys(CATALOGUE) as ErrorCode[]).sort();

export function errorReference(): string {
  const links = CODES.map((code) => `[${code}](#${code.toLowerCase()})`);
  return `${REFERENCE_MARK}

## Error codes

A message begins with its code; the log has it as \`code\`. A code is never renamed or reused. "Tries again" means the agent, by itself, as \`retry\` and
\`resume\` say.

${links.join(" · ")}

${CODES.map(section).join("\n")}`;
}

function section(code: ErrorCode): string {
  const { exit, retry, hint } = CATALOGUE[code];
  const after = retry ? "The agent tries again by itself." : "It is not tried again by itself.";
  return `### ${code}\n\n${ERROR_PROSE[code]}\n\nExit status ${exit}. ${after}\n\nHINT: ${hint}\n`;
}

/**
 * `bun scripts/docs.ts` prints the configuration reference, which docs/configuration.md holds; `bun scripts/docs.ts errors`
 * the rows of the table of error codes in docs/operations.md.
 */
import { configReference } from "#config/reference.ts";
import { errorRows } from "./lib/error-table.ts";

process.stdout.write(process.argv[2] === "errors" ? `${errorRows().join("\n")}\n` : configReference());

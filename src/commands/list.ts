/** list: the archives of a stock, and of which storages nothing could be told. */
import { EXIT } from "#cli/exit-codes.ts";
import { failureText } from "#cli/failure-text.ts";
import type { ListRequest } from "#cli/list-command.ts";
import { listJson, listText } from "#cli/list-report.ts";
import type { CommandContext } from "./command-context.ts";

export async function runList({ scope, json }: ListRequest, context: CommandContext): Promise<number> {
  const { stdout, stderr } = context;
  const stock = await context.stock();
  const { rows, failures } = await stock.list({ ...scope, facts: true });
  if (json) for (const row of rows) await stdout.write(listJson(row));
  else if (rows.length > 0 || failures.length === 0) await stdout.write(listText(rows, scope));
  for (const failure of failures) stderr.write(failureText(failure));
  return failures.length > 0 ? EXIT.failed : EXIT.done;
}

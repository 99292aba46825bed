/**
 * The syntax of `schedule`: the five fields of cron. It refuses what could never fire; when an expression fires next is
 * the daemon's business.
 */

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: readonly Field[] = [
  { name: "minute", min: 0, max: 59, names: [] },
  { name: "hour", min: 0, max: 23, names: [] },
  { name: "day of the month", min: 1, max: 31, names: [] },
  { name: "month", min: 1, max: 12, names: MONTHS },
  // 0 and 7 are both Sunday.
  { name: "day of the week", min: 0, max: 7, names: WEEKDAYS },
];
/** February has 29 days in some year. */
const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const EXPRESSION_CHARACTERS_MAX = 256;

/** A clause that says what is wrong with the expression; undefined when nothing is. */
export function cronProblem(expression: string): string | undefined {
  if (expression.length > EXPRESSION_CHARACTERS_MAX) return "it is longer than any schedule";
  const parts = expression.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) {
    return expression.startsWith("@")
      ? "write the five fields out, for instance 0 2 * * * for every night at two"
      : `it has ${parts.length} fields, not 5: minute, hour, day of the month, month, day of the week`;
  }
  const sets: (readonly number[])[] = [];
  for (const [index, field] of FIELDS.entries()) {
    const values = fieldValues(parts[index] ?? "", field);
    if (typeof values === "string") return values;
    sets.push(values);
  }
  return parts[4] === "*" && !someMonthHasDay(sets[2] ?? [], sets[3] ?? [])
    ? "no such month has such a day, so it would never run"
    : undefined;
}

function someMonthHasDay(days: readonly number[], months: readonly number[]): boolean {
  const first = Math.min(...days);
  return months.some((month) => first <= (MONTH_DAYS[month - 1] ?? 0));
}

/** Every value of a field's comma-separated parts, or a clause that says what is wrong. */
function fieldValues(text: string, field: Field): readonly number[] | string {
  const values: number[] = [];
  for (const part of text.split(",")) {
    const partValues = rangeValues(part, field);
    if (partValues === undefined) return `"${part}" is no ${field.name} from ${field.min} to ${field.max}`;
    values.push(...partValues);
  }
  return values;
}

/** A star, `5`, `1-5`, `mon-fri`, each with an optional step: `8-18/2`. A number with a step runs to the field's end. */
function rangeValues(part: string, field: Field): readonly number[] | undefined {
  const match = /^(?:(\*)|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:\/(\d{1,4}))?$/i.exec(part);
  if (match === null) return undefined;
  const [, star, fromText, toText, stepText] = match;
  const step = stepText === undefined ? 1 : Number(stepText);
  const from = star === undefined ? fieldNumber(fromText ?? "", field) : field.min;
  const open = star !== undefined || (toText === undefined && stepText !== undefined);
  const to = open ? field.max : toText === undefined ? from : fieldNumber(toText, field);
  if (from === undefined || to === undefined || from > to || step < 1) return undefined;
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

function fieldNumber(text: string, field: Field): number | undefined {
  const named = field.names.indexOf(text.toLowerCase());
  if (named >= 0) return named + field.min;
  const number = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  return number >= field.min && number <= field.max ? number : undefined;
}

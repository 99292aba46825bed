/** Text from certificates and file names, made safe for a terminal and a log line. Their makers may be hostile. */

const SHOWN_CHARACTERS_MAX = 200;

/** The text with control, direction-changing and unpaired characters as `\u{1b}`, cut after 200 characters. */
export function printable(text: string): string {
  const cut = text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
  return cut.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** The same in double quotes. */
export function quoted(text: string): string {
  return `"${printable(text)}"`;
}

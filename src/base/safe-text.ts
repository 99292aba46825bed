/** Text that came from elsewhere (files, peers, configurations), made safe for terminals and log lines. */

/** Control, direction-changing, unassigned and unpaired characters and line breaks as `\u{1b}`; everything else as it is. */
export function safeText(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

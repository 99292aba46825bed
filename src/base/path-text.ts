/**
 * Paths, which are raw bytes, as text for people. What it gives cannot drive a terminal, break a line or pass for another
 * path; it is not meant to be read back.
 */

const SPECIALS: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };

/** UTF-8 as it is; control, direction-changing and unassigned characters, backslashes and other bytes escaped. */
export function pathText(path: Uint8Array): string {
  if (isPlain(path)) return Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(path));
  if (text.includes("\ufffd")) return bytesText(path);
  return text.replace(/[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Zl}\p{Zp}\\]/gu, escapeCharacter);
}

/** Most names: printable ASCII without a backslash, which stands for itself. Listings of millions of names come through here. */
function isPlain(path: Uint8Array): boolean {
  for (const byte of path) if (byte < 0x20 || byte > 0x7e || byte === 92) return false;
  return true;
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return SPECIALS[code] ?? (code < 0x80 ? byteText(code) : `\\u{${code.toString(16)}}`);
}

/** Every byte beyond ASCII as `\xNN`. */
function bytesText(path: Uint8Array): string {
  let text = "";
  for (const byte of path) {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 92;
    text += plain ? String.fromCharCode(byte) : (SPECIALS[byte] ?? byteText(byte));
  }
  return text;
}

function byteText(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** An ar archive in memory, as a Debian package is one: short names, owner root, even lengths. Reads none. */

export interface ArMember {
  /** At most 16 ASCII characters, without spaces. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const NAME_CHARACTERS_MAX = 16;
/** What the size field of a header can say. */
const MEMBER_BYTES_MAX = 9_999_999_999;

export function arArchive(members: readonly ArMember[], epochSeconds: number): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from("!<arch>\n")];
  for (const { name, bytes } of members) {
    if (!/^[\x21-\x7e]+$/.test(name) || name.length > NAME_CHARACTERS_MAX) {
      throw new RangeError(`${JSON.stringify(name)} is no name for a member of an ar archive`);
    }
    if (bytes.length > MEMBER_BYTES_MAX) throw new RangeError(`${name} is too large for an ar archive`);
    const fields: readonly (readonly [text: string, width: number])[] = [
      [name, NAME_CHARACTERS_MAX],
      [String(epochSeconds), 12],
      ["0", 6],
      ["0", 6],
      ["100644", 8],
      [String(bytes.length), 10],
    ];
    parts.push(Buffer.from(`${fields.map(([text, width]) => text.padEnd(width)).join("")}\`\n`), bytes);
    if (bytes.length % 2 === 1) parts.push(Buffer.from("\n"));
  }
  return Buffer.concat(parts);
}

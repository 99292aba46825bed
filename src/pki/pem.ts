/**
 * Finds the PEM blocks of a text, however it got its line ends: with text around them, CRLF, a byte order mark, blanks at
 * the ends of lines. It knows nothing of what a block holds, and never repeats its content in a message.
 */

export interface PemBlock {
  /** `CERTIFICATE`, `PRIVATE KEY`, … */
  readonly label: string;
  readonly der: Uint8Array;
  /** Encrypted in the old way of openssl (`Proc-Type: 4,ENCRYPTED`), which the label does not show. */
  readonly encrypted: boolean;
}

/** The text is not PEM. `message` says in words what was found; callers add the file. */
export class MalformedPem extends Error {
  override readonly name = "MalformedPem";
}

/** Blocks of one file: a bundle of all public CAs has about 150. */
export const PEM_BLOCK_COUNT_MAX = 1000;

const BEGIN = /^-----BEGIN ([A-Z0-9 ]+)-----$/;
const END = /^-----END ([A-Z0-9 ]+)-----$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** All blocks in order; none is not an error here. Throws MalformedPem for a block that is cut off or damaged. */
export function parsePem(bytes: Uint8Array): PemBlock[] {
  // Latin-1 keeps every byte apart, and only ASCII matters inside blocks.
  const lines = Buffer.from(bytes)
    .toString("latin1")
    .replace(/^ï»¿/, "")
    .split(/\r\n|\n|\r/);
  const blocks: PemBlock[] = [];
  let label: string | undefined;
  let body: string[] = [];
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    const begins = BEGIN.exec(line)?.[1];
    if (begins !== undefined) {
      if (label !== undefined) throw new MalformedPem(`line ${index + 1} begins a block inside the block of ${label}`);
      if (blocks.length === PEM_BLOCK_COUNT_MAX) throw new MalformedPem(`more than ${PEM_BLOCK_COUNT_MAX} blocks`);
      label = begins;
      body = [];
    } else if (label !== undefined) {
      const ends = END.exec(line)?.[1];
      if (ends === undefined) {
        body.push(line);
        continue;
      }
      if (ends !== label) throw new MalformedPem(`line ${index + 1} ends a block of ${ends}, but ${label} was begun`);
      blocks.push(readBlock(label, body));
      label = undefined;
    }
  }
  if (label !== undefined) throw new MalformedPem(`the file ends inside the block of ${label}: is it complete?`);
  return blocks;
}

/** One block as the TLS library likes it: lines of 64 characters, LF. */
export function encodePem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString("base64");
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

function readBlock(label: string, lines: readonly string[]): PemBlock {
  // Header lines (RFC 1421) come first and contain a colon, which base64 does not.
  const headers = lines.filter((line) => line.includes(":"));
  const base64 = lines.filter((line) => !line.includes(":")).join("");
  const encrypted = headers.some((line) => /^Proc-Type:.*ENCRYPTED/i.test(line));
  if (!BASE64.test(base64) || base64.length % 4 !== 0) throw new MalformedPem(`the block of ${label} is not base64`);
  return { label, der: Buffer.from(base64, "base64"), encrypted };
}

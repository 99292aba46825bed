/**
 * An enrolment token: what an administrator carries from the server to a new agent. It holds a secret of 128 random bits, which the
 * server keeps only as a hash, and the SHA-256 of the CA that the server proves itself with. As text it is one word of lower-case
 * letters and digits, which survives being pasted, wrapped or written in capitals, and has a checksum against mistypings.
 */
import { createHash } from "node:crypto";
import { Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";

export interface EnrollToken {
  /** TOKEN_SECRET_BYTES random ones. Never logged, and sent only to a server that has proved the CA. */
  readonly secret: Uint8Array;
  /** SHA-256 of the CA certificate's DER, 64 lower-case hex digits. */
  readonly caFingerprint: string;
}

const TOKEN_SECRET_BYTES = 16;
const FINGERPRINT_BYTES = 32;
const CHECK_BYTES = 4;
const TOKEN_BYTES = TOKEN_SECRET_BYTES + FINGERPRINT_BYTES + CHECK_BYTES;

/** Says what it is, and its version. */
const PREFIX = "nbe1";

/** RFC 4648: no digit looks like a letter of it. */
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const BITS = 5;
const BODY_CHARACTERS = Math.ceil((TOKEN_BYTES * 8) / BITS);

/** A token with a new secret. */
export function newToken(caFingerprint: string, random: Random): EnrollToken {
  return { secret: random.bytes(TOKEN_SECRET_BYTES), caFingerprint };
}

/** `nbe1…`, 88 characters. */
export function tokenText({ secret, caFingerprint }: EnrollToken): string {
  const held = Buffer.concat([secret, Buffer.from(caFingerprint, "hex")]);
  return PREFIX + base32(Buffer.concat([held, checksum(held)]));
}

/** Reads one; blanks, line breaks and capitals do not matter. Throws Failure E_USAGE that never repeats the text. */
export function parseToken(text: string): EnrollToken {
  const word = text.replace(/\s+/g, "").toLowerCase();
  if (!word.startsWith(PREFIX)) throw mistyped(`it does not begin with ${PREFIX}`);
  const body = word.slice(PREFIX.length);
  if (body.length < BODY_CHARACTERS) throw mistyped("it is cut off");
  if (body.length > BODY_CHARACTERS) throw mistyped("it is longer than a token");
  const bytes = bytesOf(body);
  const held = bytes.subarray(0, TOKEN_BYTES - CHECK_BYTES);
  if (!checksum(held).equals(bytes.subarray(held.length))) throw mistyped("a character of it is wrong");
  return {
    secret: Uint8Array.from(held.subarray(0, TOKEN_SECRET_BYTES)),
    caFingerprint: held.subarray(TOKEN_SECRET_BYTES).toString("hex"),
  };
}

/** What a server keeps of a secret: of 128 random bits nobody finds them by their SHA-256. 64 lower-case hex digits. */
export function secretHash(secret: Uint8Array): string {
  return createHash("sha256").update("nbackup enrolment\0").update(secret).digest("hex");
}

function checksum(held: Uint8Array): Buffer {
  return createHash("sha256").update(PREFIX).update(held).digest().subarray(0, CHECK_BYTES);
}

function base32(bytes: Uint8Array): string {
  let text = "";
  let held = 0;
  let heldBits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    heldBits += 8;
    for (; heldBits >= BITS; heldBits -= BITS) text += ALPHABET[(held >> (heldBits - BITS)) & 31] ?? "";
    held &= 31;
  }
  return heldBits === 0 ? text : text + (ALPHABET[(held << (BITS - heldBits)) & 31] ?? "");
}

function bytesOf(text: string): Buffer {
  const bytes: number[] = [];
  let held = 0;
  let heldBits = 0;
  for (const character of text) {
    const value = ALPHABET.indexOf(character);
    if (value < 0) throw mistyped("it has a character that no token has");
    held = ((held << BITS) | value) & 0xfff;
    heldBits += BITS;
    if (heldBits < 8) continue;
    heldBits -= 8;
    bytes.push((held >> heldBits) & 0xff);
  }
  // The last character's spare bits are zero, or several texts would be the same token.
  if ((held & ((1 << heldBits) - 1)) !== 0) throw mistyped("a character of it is wrong");
  return Buffer.from(bytes);
}

function mistyped(why: string): Failure {
  return new Failure("E_USAGE", `this is not an enrolment token: ${why}`, {
    hint: "Copy the whole token as nbackup-server pki enroll-token printed it.",
  });
}

import { describe, expect, test } from "bun:test";
import { encodePem, MalformedPem, parsePem, PEM_BLOCK_COUNT_MAX } from "#pki/pem.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const block = encodePem(
  "CERTIFICATE",
  Buffer.from("some bytes that are long enough for more than one line of base64 text"),
);

describe("reading PEM", () => {
  const forms: [name: string, text: string][] = [
    ["as it is usual", block],
    ["with CRLF line ends", block.replaceAll("\n", "\r\n")],
    ["with a byte order mark", `\ufeff${block}`],
    ["with text before and after", `Certificate:\n    Data: x\n${block}\nend\n`],
    ["with blanks around its lines", block.replaceAll("\n", "  \n  ")],
    ["without a last line end", block.trimEnd()],
  ];
  test.each(forms)("a block %s is the same block", (_name, text) => {
    expect(parsePem(bytes(text))).toEqual(parsePem(bytes(block)));
    expect(parsePem(bytes(text))).toHaveLength(1);
  });

  test("several blocks come in the order of the file, with their labels", () => {
    const text = encodePem("PRIVATE KEY", bytes("key")) + encodePem("CERTIFICATE", bytes("one"));
    expect(parsePem(bytes(text)).map(({ label, der }) => [label, Buffer.from(der).toString()])).toEqual([
      ["PRIVATE KEY", "key"],
      ["CERTIFICATE", "one"],
    ]);
  });

  test("a key encrypted in openssl's old way is known by its header", () => {
    const text =
      "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    expect(parsePem(bytes(text))).toMatchObject([{ label: "RSA PRIVATE KEY", encrypted: true }]);
  });

  test("text without a block has none", () => {
    expect(parsePem(bytes("hello\n"))).toEqual([]);
  });

  const damaged: [name: string, text: string, message: RegExp][] = [
    ["is cut off", block.slice(0, 60), /ends inside the block of CERTIFICATE/],
    ["is not base64", block.replace("c29t", "c2#t"), /not base64/],
    ["lost a character", block.replace("c29t", "c29"), /not base64/],
    ["is empty", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", /not base64/],
    ["ends as another", block.replace("END CERTIFICATE", "END PRIVATE KEY"), /ends a block of PRIVATE KEY/],
    [
      "begins inside another",
      block.replace(/\n.*-----END/, "\n-----BEGIN CERTIFICATE-----\n-----END"),
      /begins a block inside/,
    ],
  ];
  test.each(damaged)("a block that %s is refused", (_name, text, message) => {
    expect(() => parsePem(bytes(text))).toThrow(MalformedPem);
    expect(() => parsePem(bytes(text))).toThrow(message);
  });

  test("more blocks than the limit are refused", () => {
    const small = encodePem("CERTIFICATE", bytes("x"));
    expect(parsePem(bytes(small.repeat(PEM_BLOCK_COUNT_MAX)))).toHaveLength(PEM_BLOCK_COUNT_MAX);
    expect(() => parsePem(bytes(small.repeat(PEM_BLOCK_COUNT_MAX + 1)))).toThrow(MalformedPem);
  });

  test("no message repeats the content of a block", () => {
    const secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n";
    expect(() => parsePem(bytes(secret))).toThrow(/^(?!.*c2Vj)/);
  });
});

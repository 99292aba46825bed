/** Configuration files as nobody should write them: real ones with mistakes, and documents of any shape. */
import fc from "fast-check";
import { parse, stringify } from "yaml";

/** Keys of both files, and names that have made other programs stumble. */
const KEYS = [
  ...[
    "agent",
    "name",
    "server",
    "address",
    "listen",
    "state_dir",
    "tls",
    "ca_cert",
    "client_key",
    "backups",
    "storage",
  ],
  ...["sources", "path", "optional", "exclude", "parallels", "bandwidth_limit", "schedule", "retry", "max_attempts"],
  ...["resume", "buffer_size", "chunk_size", "storages", "main", "base_dir", "max_backups", "reserve", "allow_agents"],
  ...["compression_mode", "compression_level", "web_ui", "enabled", "allow_origins", "events_file", "logging", "level"],
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "<<", "", " ", "0", "null", "a.b", "[0]", "é", "a b"],
];

const scalar = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, -1, 1, 255, 256, 1e308, -0, 0.1, Number.MAX_SAFE_INTEGER + 2),
  fc.constantFrom<unknown>(Number.NaN, Number.POSITIVE_INFINITY, 10n ** 30n),
  fc.constantFrom(
    ...["64kb", "1gb", "999999999999tb", "-1s", "1h", "1e9h", "0 2 * * *", "* * * * * *", "60 * * * *", "/", "//", "."],
    ...["..", "../..", "/etc", "a:1", ":9847", "[::1]:1", "host:99999", "10.0.0.0/8", "::/0", "1.2.3.4/33", "*", "**"],
    ...[
      "-----BEGIN PRIVATE KEY-----",
      "web-*",
      "gzip",
      "zstd",
      "5%",
      "91%",
      "yes",
      "~",
      "0x10",
      "1_000",
      "\u0000",
      "\n",
    ],
  ),
  fc.string({ maxLength: 40 }),
  fc.string({ minLength: 1, maxLength: 3 }).map((text) => text.repeat(3000)),
);

const documents = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    scalar,
    fc.array(tie("node"), { maxLength: 4 }),
    fc.array(fc.tuple(fc.constantFrom(...KEYS), tie("node")), { maxLength: 6 }).map((entries) => new Map(entries)),
  ),
}));

/** Any document, written as YAML. */
export const anyDocument: fc.Arbitrary<Buffer> = documents.node.map((value) => Buffer.from(stringify(value)));

/** The real file with one value, somewhere, replaced, removed or doubled. */
export function oneWrongValue(text: string): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.nat(10_000), documents.node, fc.constantFrom("replace", "remove", "add"))
    .map(([at, value, how]) => {
      const root: unknown = parse(text);
      const places = containersIn(root);
      const container = places[at % places.length];
      const keys = container === undefined ? [] : Object.keys(container);
      const key = keys[at % Math.max(1, keys.length)] ?? "x";
      if (container !== undefined && how === "replace") Reflect.set(container, key, value);
      if (container !== undefined && how === "remove") Reflect.deleteProperty(container, key);
      if (container !== undefined && how === "add") Reflect.set(container, `${key}x`, value);
      return Buffer.from(stringify(root));
    });
}

function containersIn(value: unknown): object[] {
  if (typeof value !== "object" || value === null) return [];
  return [value, ...Object.values(value).flatMap((child: unknown) => containersIn(child))];
}

type LineEdit = readonly ["drop" | "double" | "swap" | "indent" | "outdent" | "comment", number];

/** The real file with whole lines dropped, doubled, swapped and shifted: what a hurried editor does. */
export function wrongLines(text: string): fc.Arbitrary<Buffer> {
  const kinds = fc.constantFrom<LineEdit[0]>("drop", "double", "swap", "indent", "outdent", "comment");
  return fc.array(fc.tuple(kinds, fc.nat(200)), { minLength: 1, maxLength: 6 }).map((edits) => {
    const lines = text.split("\n");
    for (const [kind, number] of edits) editLine(lines, kind, number % Math.max(1, lines.length));
    return Buffer.from(lines.join("\n"));
  });
}

function editLine(lines: string[], kind: LineEdit[0], at: number): void {
  const line = lines[at] ?? "";
  if (kind === "drop") lines.splice(at, 1);
  else if (kind === "double") lines.splice(at, 0, line);
  else if (kind === "swap") lines.splice(at, 2, ...lines.slice(at, at + 2).reverse());
  else if (kind === "indent") lines[at] = `  ${line}`;
  else if (kind === "outdent") lines[at] = line.replace(/^ {1,2}/, "");
  else lines[at] = line.replace(/^(\s*)# ?/, "$1");
}

/** The real file with bytes changed, cut out or put in. */
export function wrongBytes(bytes: Uint8Array): fc.Arbitrary<Buffer> {
  const edit = fc.tuple(fc.nat(bytes.length), fc.nat(12), fc.uint8Array({ maxLength: 6 }));
  return fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) =>
      edits.reduce<Buffer>(
        (rest, [at, cut, put]) => Buffer.concat([rest.subarray(0, at), put, rest.subarray(at + cut)]),
        Buffer.from(bytes),
      ),
    );
}

/** Small to write and large to read: aliases of aliases, nesting, merges, many keys, long lines. */
export const bombs: fc.Arbitrary<Buffer> = fc
  .tuple(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 2, max: 40 }), fc.nat(6))
  .map(([width, depth, kind]) => Buffer.from(bomb(width, depth, kind)));

function bomb(width: number, depth: number, kind: number): string {
  const names = Array.from({ length: depth }, (_, i) => `n${i}`);
  const level = (i: number, join: (inner: string) => string): string =>
    `n${i}: &n${i} ${i === 0 ? "[x]" : join(`*n${i - 1}`)}\n`;
  switch (kind) {
    case 0:
      return names.map((_name, i) => level(i, (inner) => `[${Array(width).fill(inner).join(",")}]`)).join("");
    case 1:
      return names
        .map(
          (_name, i) =>
            `n${i}: &n${i}\n${
              i === 0
                ? "  a: 1\n"
                : `  <<: [${Array(width)
                    .fill(`*n${i - 1}`)
                    .join(",")}]\n  k${i}: 1\n`
            }`,
        )
        .join("");
    case 2:
      return `a: ${"[".repeat(depth * 500)}`;
    case 3:
      return `a: ${"{b: ".repeat(depth * 100)}1${"}".repeat(depth * 100)}`;
    case 4:
      return Array.from({ length: depth * 60 }, (_, i) => `k${i}: ${"v".repeat(width)}\n`).join("");
    case 5:
      return `${"- ".repeat(depth * 50)}x\n${"? ".repeat(depth * 20)}y\n`;
    default:
      return `a: &a [${"*a, ".repeat(width)}*a]\nb: |\n${" text\n".repeat(depth * 300)}`;
  }
}

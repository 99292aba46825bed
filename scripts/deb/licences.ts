/**
 * Whose work is in an executable besides ours: the npm packages that it was built with and Bun. The packages are read from node_modules, so
 * that a new dependency is named without anybody thinking of it; of Bun the parts are those that its own licence page names.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { inProject } from "#scripts/lib/project.ts";

export interface Licensed {
  /** As Debian's machine-readable form wants it: a pattern of files. */
  readonly files: string;
  readonly copyright: readonly string[];
  /** Its short name. */
  readonly licence: string;
  /** The licence's words, or where Debian has them. */
  readonly text: string;
}

interface Manifest {
  readonly name: string;
  readonly license?: string;
  readonly author?: string | { readonly name?: string };
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** All that package.json depends on in production, and what that depends on, by name. */
export function bundledPackages(root = inProject()): readonly Licensed[] {
  const found = new Map<string, string>();
  const queue = [{ directory: root, names: Object.keys(manifestOf(root).dependencies ?? {}) }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const name of next.names) {
      const directory = directoryOf(name, next.directory, root);
      if (found.has(directory)) continue;
      found.set(directory, name);
      queue.push({ directory, names: Object.keys(manifestOf(directory).dependencies ?? {}) });
    }
  }
  const sorted = [...found].toSorted(([, a], [, b]) => (a < b ? -1 : 1));
  return sorted.map(([directory]) => licensed(directory, root));
}

/** As Node looks for it: beside who wants it, then further out. */
function directoryOf(name: string, from: string, root: string): string {
  for (let place = from; ; place = path.dirname(place)) {
    const directory = path.join(place, "node_modules", name);
    if (existsSync(path.join(directory, "package.json"))) return directory;
    if (place === root || place === path.dirname(place)) throw new Error(`${name} is not installed`);
  }
}

function manifestOf(directory: string): Manifest {
  return JSON.parse(readFileSync(path.join(directory, "package.json"), "utf8")) as Manifest;
}

/** Debian has these in /usr/share/common-licenses, and does not want them again. */
const COMMON: Readonly<Record<string, string>> = {
  "Apache-2.0": "On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.",
  "LGPL-2": "On Debian systems the text is in /usr/share/common-licenses/LGPL-2.",
  "LGPL-2.1": "On Debian systems the text is in /usr/share/common-licenses/LGPL-2.1.",
};

function licensed(directory: string, root: string): Licensed {
  const { name, license = "unknown", author } = manifestOf(directory);
  const file = readdirSync(directory).find((one) => /^licen[cs]e/i.test(one));
  if (license === "unknown" || file === undefined) throw new Error(`${name} says no licence: look what it is`);
  const text = readFileSync(path.join(directory, file), "utf8");
  const said = text.split("\n").filter((line) => /^\W*copyright\s+(\(c\)|©|\d|[A-Z])/i.test(line));
  const wrote = typeof author === "string" ? author : author?.name;
  const copyright = said.map((line) => line.replace(/^\W*copyright\s+(\(c\)|©)?\s*/i, "").trim());
  return {
    files: `${path.relative(root, directory)}/*`,
    copyright: COMMON[license] === undefined && copyright.length > 0 ? copyright : [wrote ?? `the authors of ${name}`],
    licence: license,
    text: COMMON[license] ?? text,
  };
}

const bunPart = (name: string, copyright: string, licence: string): Licensed => ({
  files: `bun/${name}/*`,
  copyright: [copyright],
  licence,
  text: COMMON[licence] ?? `The text is that of ${name}, which Bun is built from.`,
});

/** The runtime that each executable carries. */
export const BUN_PARTS: readonly Licensed[] = [
  { ...bunPart("src", "Oven, Inc. and contributors", "MIT"), text: "The MIT licence, as in LICENSE.md of Bun." },
  bunPart("JavaScriptCore", "Apple Inc., the KDE project and others", "LGPL-2"),
  bunPart("boringssl", "the OpenSSL project, Google Inc. and others", "Apache-2.0"),
  bunPart("brotli", "the Brotli authors", "MIT"),
  bunPart("c-ares", "the c-ares project and its contributors", "MIT"),
  bunPart("icu", "Unicode, Inc.", "Unicode-3.0"),
  bunPart("libarchive", "Tim Kientzle and others", "BSD-2-clause"),
  bunPart("libbase64", "Alfred Klomp and others", "BSD-2-clause"),
  bunPart("libdeflate", "Eric Biggers and others", "MIT"),
  bunPart("lol-html", "Cloudflare, Inc.", "BSD-3-clause"),
  bunPart("mimalloc", "Microsoft Corporation, Daan Leijen", "MIT"),
  bunPart("picohttpparser", "Kazuho Oku and others", "MIT"),
  bunPart("simdutf", "the simdutf authors", "Apache-2.0"),
  bunPart("tigerbeetle-io", "TigerBeetle, Inc.", "Apache-2.0"),
  bunPart("tinycc", "Fabrice Bellard and others", "LGPL-2.1"),
  bunPart("uSockets", "Alex Hultman and contributors", "Apache-2.0"),
  bunPart("uWebSockets", "Alex Hultman and contributors", "Apache-2.0"),
  bunPart("zlib", "Jean-loup Gailly, Mark Adler, Cloudflare, Inc.", "Zlib"),
  bunPart("zstd", "Meta Platforms, Inc. and affiliates", "BSD-3-clause"),
];

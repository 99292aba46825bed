/** The repository checks itself: layout, import table, bans, shape of files, dependencies. Rules: support/tidy-rules.ts. */
import { describe, expect, test } from "bun:test";
import path from "node:path";
import pkg from "#package.json" with { type: "json" };
import {
  checkBans,
  checkImports,
  checkLayout,
  checkShape,
  checkWorkplace,
  type Finding,
  IMPORT_TABLE,
  type SourceFile,
} from "#test/support/tidy-rules.ts";
import { importsOf, maskSource } from "#test/support/tidy-source.ts";

const ROOT = path.dirname(import.meta.dir);

async function read(patterns: readonly string[]): Promise<readonly SourceFile[]> {
  const files: SourceFile[] = [];
  for (const pattern of patterns) {
    for await (const file of new Bun.Glob(pattern).scan({ cwd: ROOT, dot: true })) {
      if (/^(node_modules|dist|\.bun|\.git|quickstart|bench-data|test-results)\//.test(file)) continue;
      files.push({ path: file, text: await Bun.file(path.join(ROOT, file)).text() });
    }
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const sources = await read(["{src,pki-tools,scripts,test}/**/*.{ts,tsx,mjs}"]);
const texts = await read([
  "{src,pki-tools,scripts,test,docs,.ci}/**/*.{ts,tsx,css,html,mjs,md,json,yaml,sh,hex}",
  "*.{md,json,toml,lock}",
  ".ci/run",
]);

function over(check: (file: SourceFile) => readonly Finding[], files = sources): readonly Finding[] {
  return files.flatMap(check);
}

describe("the repository", () => {
  test("has sources to check", () => {
    expect(sources.length).toBeGreaterThan(20);
  });
  test("lies in the folders of the layout", () => {
    expect(over(checkLayout)).toEqual([]);
  });
  test("imports only what the import table allows", () => {
    expect(over(checkImports)).toEqual([]);
  });
  test("reaches for no clock, chance, process or socket outside its place, and silences no checker", () => {
    expect(over(checkBans)).toEqual([]);
  });
  test("opens every file with what it is for, and keeps it short", () => {
    expect(over(checkShape)).toEqual([]);
  });
  test("names no path of the machine it was written on", () => {
    expect(over(checkWorkplace, texts)).toEqual([]);
  });
  test("has no mark of a merge that was left open", () => {
    const marked = texts.filter(({ text }) => /^(?:<{7}|>{7}|(?:> ){7})/m.test(text));
    expect(marked.map(({ path: file }) => file)).toEqual([]);
  });
  test("pins every dependency exactly and gives each a line in the README's table", async () => {
    const readme = await Bun.file(path.join(ROOT, "README.md")).text();
    const dependencies = Object.entries({ ...pkg.dependencies, ...pkg.devDependencies });
    expect(dependencies.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    expect(dependencies.map(([name]) => name).filter((name) => !readme.includes(`| \`${name}\` `))).toEqual([]);
  });
  test("names no registry in its lock file", async () => {
    expect(await Bun.file(path.join(ROOT, "bun.lock")).text()).not.toContain("http");
  });
  test("keeps a changelog with what is not released yet", async () => {
    expect(await Bun.file(path.join(ROOT, "CHANGELOG.md")).text()).toContain("## [Unreleased]");
  });
  test("tells the linter the same import table", async () => {
    const biome: BiomeConfig = await Bun.file(path.join(ROOT, "biome.json")).json();
    const told = Object.fromEntries(biome.overrides.flatMap(allowedByOverride));
    const table = Object.entries(IMPORT_TABLE).map(([domain, rule]) => [domain, [...rule.imports].sort()]);
    expect(told).toEqual(Object.fromEntries(table));
  });
});

interface BiomeConfig {
  readonly overrides: readonly {
    readonly includes: readonly string[];
    readonly linter: {
      readonly rules: {
        readonly style?: {
          readonly noRestrictedImports?: {
            readonly options: {
              readonly patterns: readonly { readonly group: readonly string[]; readonly message: string }[];
            };
          };
        };
      };
    };
  }[];
}

/** `[domain, what it may import]` of an override that forbids everything of ours but that. */
function allowedByOverride(override: BiomeConfig["overrides"][number]): readonly [string, readonly string[]][] {
  const domain = /^(?:src\/)?([\w-]+)\/\*\*$/.exec(override.includes[0] ?? "")?.[1];
  const patterns = override.linter.rules.style?.noRestrictedImports?.options.patterns ?? [];
  const table = patterns.find(({ group, message }) => group.includes("#*/**") && message.length > 20);
  if (domain === undefined || table === undefined) return [];
  const allowed = table.group
    .filter((item) => item.startsWith("!#"))
    .map((item) => item.slice(2).replace(/\/\*\*$/, ""));
  return [[domain, allowed.sort()]];
}

/** A planted violation: the check, a path, a text, and what the finding must say; undefined when it is none. */
type Planted = [(file: SourceFile) => readonly Finding[], string, string, string | undefined];

const PLANTED: readonly Planted[] = [
  [checkLayout, "src/misc/a.ts", "", "no domain of the layout"],
  [checkLayout, "src/net/deep/a.ts", "", "one level"],
  [checkLayout, "test/a.test.ts", "", "test/ has the folders"],
  [checkLayout, "src/net/a.ts", "", undefined],
  [checkImports, "src/agent/a.ts", 'import { x } from "#store/x.ts";', "may not import #store/x.ts"],
  [checkImports, "src/agent/a.ts", 'import {\n  x,\n} from "#server/x.ts";', "may not import #server/x.ts"],
  [checkImports, "src/server/a.ts", 'export { x } from "#agent/x.ts";', "may not import #agent/x.ts"],
  [checkImports, "src/agent/a.ts", 'const x = await import("#server/x.ts");', "may not import #server/x.ts"],
  [checkImports, "src/net/a.ts", 'import type { F } from "#wire/frame.ts";', "may not import #wire/frame.ts"],
  [checkImports, "src/net/a.ts", 'import { x } from "#net/b.ts";', "may not import #net/b.ts"],
  [checkImports, "src/net/a.ts", 'import { x } from "#bin/b.ts";', "may not import #bin/b.ts"],
  [checkImports, "src/agent/a.ts", 'import { x } from "#config/types.ts";', "only `import type`"],
  [checkImports, "src/agent/a.ts", 'import type { X } from "#config/types.ts";', undefined],
  [checkImports, "src/cli/a.ts", 'import { x } from "#observe/metrics.ts";', "may not import #observe/metrics.ts"],
  [checkImports, "src/cli/a.ts", 'import { x } from "#observe/log.ts";', undefined],
  [checkImports, "src/net/a.ts", 'import { x } from "../pki/x.ts";', "imports with ../"],
  [checkImports, "test/unit/a.test.ts", 'import { x } from "../support/x.ts";', "imports with ../"],
  [checkImports, "src/net/a.ts", 'import { x } from "./index.ts";', "barrel"],
  [checkImports, "src/net/a.ts", 'import { x } from "node:child_process";', "made in src/bin"],
  [checkImports, "src/store/a.ts", 'import net from "node:net";', "only net and web"],
  [checkImports, "src/net/a.ts", 'const text = "import { x } from \'#wire/x.ts\'"; // import "#wire/y.ts"', undefined],
  [checkBans, "src/net/a.ts", "const t = Date.now();", "time is passed in"],
  [checkBans, "src/ui/a.tsx", "const t = Date.now();", "time is passed in"],
  [checkBans, "src/ui/browser.ts", "const t = Date.now();", undefined],
  [checkImports, "src/ui/a.tsx", 'import { x } from "./b.tsx";', undefined],
  [checkImports, "src/ui/a.ts", 'import { x } from "#web/api-types.ts";', "only `import type`"],
  [checkImports, "src/ui/a.ts", 'import { x } from "#web/matches.ts";', undefined],
  [checkImports, "src/ui/a.ts", 'import type { X } from "#observe/records.ts";', "may not import #observe/records.ts"],
  [checkBans, "src/ui/a.tsx", "<p dangerouslySetInnerHTML={{ __html: text }} />", "is text"],
  [checkBans, "src/ui/a.ts", "node.innerHTML = text;", "is text"],
  [checkBans, "src/net/a.ts", "const t = new Date();", "time is passed in"],
  [checkBans, "src/net/a.ts", "const t = new Date(wallMs).toISOString();", undefined],
  [checkBans, "src/net/a.ts", "setTimeout(f, 1);", "time is passed in"],
  [checkBans, "src/net/a.ts", "const r = Math.random();", "chance is passed in"],
  [checkBans, "src/net/a.ts", "const e = process.env;", "src/bin"],
  [checkBans, "src/net/a.ts", "const a = process.arch;", undefined],
  [checkBans, "src/bin/a.ts", "process.exit(1);", undefined],
  [checkBans, "test/unit/a.test.ts", "process.exit(1);", "without a word"],
  [checkBans, "src/net/a.ts", "console.log(1);", "Logger"],
  [checkBans, "src/cli/a.ts", "console.log(1);", undefined],
  [checkBans, "src/store/a.ts", "Bun.connect({});", "only net and web"],
  [checkBans, "src/net/a.ts", "const x: any = 1;", "no `any`"],
  [checkBans, "src/net/a.ts", "const any = [1]; f(any);", undefined],
  [checkBans, "src/net/a.ts", "export enum A { B }", "union of strings"],
  [checkBans, "test/unit/a.test.ts", "await Bun.sleep(10);", "no sleeps"],
  [checkBans, "src/net/a.ts", "// TO" + "DO: later", "an issue, not a comment"],
  [checkBans, "src/net/a.ts", "// @ts-" + "ignore", "not silenced"],
  [checkBans, "src/net/a.ts", 'const s = "Date.now() in a string"; /* and Math.random in a comment */', undefined],
  [checkBans, "src/net/a.ts", "const s = `${Date.now()}`;", "time is passed in"],
  [checkBans, "src/net/a.ts", "const r = /console.log/; const d = a / b; // process.exit", undefined],
  [checkShape, "src/net/a.ts", "export const a = 1;\n", "opens without a doc comment"],
  [checkShape, "src/net/a.ts", `/** For. */\n${"a();\n".repeat(400)}`, "401 lines"],
  [checkShape, "src/net/a.ts", "/** For. */\nexport const a = 1;\n", undefined],
  [checkWorkplace, "docs/a.md", "see /wo" + "rk/main/src", "one person's machine"],
  [checkWorkplace, "docs/a.md", "see /srv/work", undefined],
];

describe("a planted violation", () => {
  for (const [check, file, text, expected] of PLANTED) {
    const title = `${expected === undefined ? "is not seen in" : "is found in"} ${file}: ${JSON.stringify(text.slice(0, 60))} (${check.name})`;
    test(title, () => {
      const findings = check({ path: file, text });
      if (expected === undefined) expect(findings).toEqual([]);
      else expect(findings.join("\n")).toContain(expected);
    });
  }
});

describe("reading a source", () => {
  test("keeps length and lines when it hides strings and comments", () => {
    const text = 'const a = "x\\"y"; // note\n/* two\nlines */ const b = `p ${a + `q${1}`} s`;\n';
    const { code, comments } = maskSource(text);
    expect([code.length, comments.length]).toEqual([text.length, text.length]);
    expect(code).toBe('const a = "    ";        \n      \n         const b = `  ${a + ` ${1}`}  `;\n');
    expect(comments.replace(/ +/g, " ")).toBe(" // note\n/* two\nlines */ \n");
  });
  test("finds imports of every form with their lines", () => {
    const text =
      'import "./a.ts";\nimport type { B } from "./b.ts";\nexport * from "./c.ts";\ntype D = typeof import("./d.ts");\n';
    expect(importsOf(text)).toEqual([
      { specifier: "./a.ts", typeOnly: false, line: 1 },
      { specifier: "./b.ts", typeOnly: true, line: 2 },
      { specifier: "./c.ts", typeOnly: false, line: 3 },
      { specifier: "./d.ts", typeOnly: false, line: 4 },
    ]);
  });
});

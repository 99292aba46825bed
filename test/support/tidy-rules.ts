/**
 * The rules of ARCHITECTURE.md about folders, imports, bans and files, as pure functions from a file's path and text to
 * findings. biome.json says the import table to the linter a second time; a test keeps the two equal.
 */
import { importsOf, type ImportLine, lineAt, maskSource } from "./tidy-source.ts";

export interface SourceFile {
  /** Relative to the checkout, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** `src/net/dial.ts:12: what is wrong and why`. */
export type Finding = string;

interface DomainRule {
  /** Whole domains, or single files of one. */
  readonly imports: readonly string[];
  /** Domains, or files, of which only types may be imported. */
  readonly typesOnly?: readonly string[];
}

/** What each domain may import of ours. bin is missing: it may import everything. */
export const IMPORT_TABLE: Readonly<Record<string, DomainRule>> = {
  base: { imports: [] },
  wire: { imports: ["base"] },
  net: { imports: ["base", "pki"] },
  pki: { imports: ["base"] },
  config: { imports: ["base"] },
  archive: { imports: ["base"] },
  compress: { imports: ["base"] },
  window: { imports: ["base"] },
  restore: { imports: ["base", "archive", "compress"] },
  store: { imports: ["base"] },
  observe: { imports: ["base"] },
  agent: {
    imports: ["base", "wire", "net", "pki", "archive", "compress", "window", "restore", "observe", "config"],
    typesOnly: ["config"],
  },
  server: {
    imports: ["base", "wire", "net", "pki", "store", "archive", "compress", "restore", "observe", "config"],
    typesOnly: ["config"],
  },
  web: { imports: ["base", "observe", "config"], typesOnly: ["config"] },
  ui: {
    imports: ["web/api-types.ts", "web/api-archives.ts", "web/matches.ts"],
    typesOnly: ["web/api-types.ts", "web/api-archives.ts"],
  },
  cli: {
    imports: ["base", "config", "observe/log.ts", "observe/records.ts", "observe/views.ts", "observe/agent-views.ts"],
  },
  commands: { imports: ["base", "archive", "restore", "cli"] },
  "pki-tools": { imports: ["base", "pki"] },
};

/** Folders that hold programs or tests rather than a domain, and import what they need. */
const OPEN_FOLDERS = ["src/bin/", "scripts/", "test/"];
const TEST_FOLDERS = ["unit", "property", "golden", "sim", "e2e", "ui", "support"];
const LINES_MAX = 400;

/** The domain of a path: `net` of src/net/dial.ts, `pki-tools` of pki-tools/issue.ts; undefined for the open folders. */
function domainOf(path: string): string | undefined {
  if (OPEN_FOLDERS.some((folder) => path.startsWith(folder))) return undefined;
  const parts = path.split("/");
  return parts[0] === "src" ? parts[1] : parts[0];
}

/** Files lie in folders of the layout, one level deep. */
export function checkLayout({ path }: SourceFile): readonly Finding[] {
  const parts = path.split("/");
  if (parts[0] === "test") {
    const known = parts.length === 2 ? path === "test/tidy.test.ts" : TEST_FOLDERS.includes(parts[1] ?? "");
    return known ? [] : [`${path}: test/ has the folders ${TEST_FOLDERS.join(", ")} and tidy.test.ts`];
  }
  if (parts[0] === "scripts") return [];
  const domain = domainOf(path);
  const depth = parts[0] === "src" ? 3 : 2;
  if (domain !== undefined && !Object.hasOwn(IMPORT_TABLE, domain))
    return [`${path}: ${domain} is no domain of the layout`];
  return parts.length === depth ? [] : [`${path}: a domain is one level of files`];
}

/** Whether the table lets `rule`'s domain import `#target`, and in the form it does. */
function judgeImport(rule: DomainRule, target: string, line: ImportLine): string | undefined {
  const other = target.split("/")[0] ?? "";
  if (!rule.imports.includes(other) && !rule.imports.includes(target)) {
    return `may not import #${target} (the import table of ARCHITECTURE.md)`;
  }
  const isTypes = rule.typesOnly?.includes(other) === true || rule.typesOnly?.includes(target) === true;
  if (isTypes && !line.typeOnly) return `may only \`import type\` from #${target}`;
  return undefined;
}

function judgeSpecifier(domain: string | undefined, line: ImportLine): string | undefined {
  const { specifier } = line;
  if (specifier.includes("../")) return "imports with ../; across domains write #domain/file.ts";
  if (/(^|\/)index\.(ts|js|tsx)$/.test(specifier)) return "imports a barrel; import the file that has it";
  if (domain === undefined) return undefined;
  if (specifier.startsWith("./")) {
    return /^\.\/[^/]+\.tsx?$/.test(specifier) ? undefined : "imports ./ with more than one step or without its ending";
  }
  const rule = IMPORT_TABLE[domain];
  if (specifier.startsWith("#") && rule !== undefined) return judgeImport(rule, specifier.slice(1), line);
  const reason = line.typeOnly
    ? undefined
    : BANNED_MODULES.find((ban) => ban.module.test(specifier) && !ban.allowed.includes(domain));
  return reason === undefined ? undefined : `imports ${specifier}: ${reason.why}`;
}

interface BannedModule {
  readonly module: RegExp;
  readonly allowed: readonly string[];
  readonly why: string;
}

const BANNED_MODULES: readonly BannedModule[] = [
  { module: /^node:(timers|perf_hooks)/, allowed: [], why: "time is passed in (#base/clock.ts)" },
  { module: /^node:process$/, allowed: [], why: "arguments, environment and exit belong to src/bin" },
  {
    module: /^node:(worker_threads|child_process|cluster)$/,
    allowed: [],
    why: "threads and processes are made in src/bin",
  },
  { module: /^node:(net|tls|http|https|http2|dgram)$/, allowed: ["net", "web"], why: "only net and web touch sockets" },
  { module: /^(node:)?test$|^bun:test$/, allowed: [], why: "tests live in test/" },
];

/** Every import obeys the table. */
export function checkImports({ path, text }: SourceFile): readonly Finding[] {
  const domain = domainOf(path);
  const findings: Finding[] = [];
  for (const line of importsOf(text)) {
    const reason = judgeSpecifier(domain, line);
    if (reason !== undefined) findings.push(`${path}:${line.line}: ${domain ?? "this file"} ${reason}`);
  }
  return findings;
}

interface Ban {
  readonly pattern: RegExp;
  readonly why: string;
  /** Paths that start so may. */
  readonly allowed: readonly string[];
}

const RUNTIME = ["src/bin/", "scripts/", "test/"];
/** Of the page, the one file that asks the browser for time. */
const BROWSER = "src/ui/browser.ts";
const TIME = "time is passed in (#base/clock.ts)";
const CHANCE = "chance is passed in (#base/random.ts)";

/** What code may not contain. Looked for in code only, not in comments and strings. */
const CODE_BANS: readonly Ban[] = [
  { pattern: /\bDate\.now\b|\bnew Date\(\s*\)|(?<![\w$.]|new )Date\(/, why: TIME, allowed: [...RUNTIME, BROWSER] },
  { pattern: /\bperformance\s*\./, why: TIME, allowed: [...RUNTIME, BROWSER] },
  { pattern: /\b(setTimeout|setInterval|setImmediate)\b/, why: TIME, allowed: [...RUNTIME, "src/ui/"] },
  { pattern: /\bBun\.(sleep|sleepSync|nanoseconds)\b/, why: TIME, allowed: RUNTIME },
  { pattern: /\bMath\.random\b/, why: CHANCE, allowed: RUNTIME },
  {
    pattern: /\b(randomUUID|getRandomValues|randomBytes|randomInt|randomFillSync|randomUUIDv7)\b/,
    why: CHANCE,
    allowed: [...RUNTIME, "pki-tools/"],
  },
  {
    pattern: /\bprocess\s*\.\s*(?!(?:arch|platform)\b)\w+/,
    why: "arguments, environment, signals and exit belong to src/bin",
    allowed: RUNTIME,
  },
  {
    pattern: /\bBun\.(env|argv|main|stdin|stdout|stderr)\b/,
    why: "arguments, environment and standard streams belong to src/bin",
    allowed: RUNTIME,
  },
  { pattern: /\bconsole\s*\./, why: "programs log through a Logger (#base/log.ts)", allowed: [...RUNTIME, "src/cli/"] },
  {
    pattern: /\bBun\.(listen|connect|serve|udpSocket)\b/,
    why: "only net and web touch sockets",
    allowed: [...RUNTIME, "src/net/", "src/web/"],
  },
  { pattern: /\bBun\.(spawn|spawnSync|\$)/, why: "processes are made in src/bin", allowed: RUNTIME },
  {
    pattern: /\bnew Worker\b/,
    why: "workers are made in src/bin, where a compiled executable finds them",
    allowed: RUNTIME,
  },
  {
    pattern: /\b(dangerouslySetInnerHTML|innerHTML|outerHTML|insertAdjacentHTML|document\s*\.\s*write)\b/,
    why: "what comes from agents is text, never HTML",
    allowed: ["test/"],
  },
  { pattern: /[:<|&,]\s*any\b(?!\s*[(:])|\bas any\b/, why: "no `any`: say what it is, or `unknown`", allowed: [] },
  {
    pattern: /^\s*(export\s+)?(declare\s+)?(const\s+)?enum\b/m,
    why: "a union of strings instead of an enum",
    allowed: [],
  },
  {
    pattern: /\bprocess\.exit\b/,
    why: "ends the run without a word about the rest; set process.exitCode",
    allowed: ["src/bin/"],
  },
];

/** Waiting for time instead of a signal makes a test slow and sometimes wrong. */
const TEST_BANS: readonly Ban[] = [
  {
    pattern: /\bBun\.sleep\b|\bsetTimeout\b|\bsleepSync\b/,
    why: "no sleeps: wait for a signal or use a fake clock",
    allowed: ["test/e2e/", "test/ui/", "test/support/"],
  },
];

/** What comments may not contain. */
const COMMENT_BANS: readonly Ban[] = [
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/, why: "work to do is an issue, not a comment", allowed: [] },
  { pattern: /@ts-(ignore|nocheck|expect-error)/, why: "the type checker is not silenced", allowed: [] },
];

function applyBans(file: SourceFile, text: string, bans: readonly Ban[]): readonly Finding[] {
  const findings: Finding[] = [];
  for (const { pattern, why, allowed } of bans) {
    if (allowed.some((start) => file.path.startsWith(start))) continue;
    const match = pattern.exec(text);
    if (match !== null) findings.push(`${file.path}:${lineAt(text, match.index)}: \`${match[0].trim()}\`: ${why}`);
  }
  return findings;
}

/** Nothing that must be passed in is reached for, and nothing silences a checker. The first place of each is named. */
export function checkBans(file: SourceFile): readonly Finding[] {
  const { code, comments } = maskSource(file.text);
  const inTests = file.path.startsWith("test/") ? applyBans(file, code, TEST_BANS) : [];
  return [...applyBans(file, code, CODE_BANS), ...inTests, ...applyBans(file, comments, COMMENT_BANS)];
}

/** A file opens with a doc comment that says what it is for, and is short enough to be one idea. */
export function checkShape({ path, text }: SourceFile): readonly Finding[] {
  const findings: Finding[] = [];
  const opens = text.replace(/^#!.*\n/, "").startsWith("/**");
  if (!opens && !path.endsWith(".test.ts"))
    findings.push(`${path}:1: opens without a doc comment: what is it for, and what does it not do?`);
  const lines = text.trimEnd().split("\n").length;
  if (lines > LINES_MAX) findings.push(`${path}: ${lines} lines; over ${LINES_MAX} there are two ideas in it`);
  return findings;
}

/** The machine a file was written on is nobody's business. The names are put together here so as not to find themselves. */
const WORKPLACE = new RegExp(
  ["/wo" + "rk/(main|shared)\\b", "/tmp/" + "(nb-|prompt-)", "noreply\\.b-" + "seed"].join("|"),
);

export function checkWorkplace({ path, text }: SourceFile): readonly Finding[] {
  const match = WORKPLACE.exec(text);
  return match === null ? [] : [`${path}:${lineAt(text, match.index)}: names a path of one person's machine`];
}

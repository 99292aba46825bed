/**
 * The configuration reference, made from the schemas so that it cannot tell anything else than they do. docs/configuration.md is
 * its output; a test compares them.
 */
import { agentSchema } from "./agent-schema.ts";
import { AGENT_LATER, SERVER_LATER } from "./later.ts";
import { noteOf, type Schema, structureOf } from "./parts.ts";
import { serverSchema } from "./server-schema.ts";

interface Row {
  readonly key: string;
  /** ` †` for a key without effect. */
  readonly mark: string;
  readonly text: string;
}

interface Section {
  readonly title: string;
  readonly intro: string;
  readonly rows: Row[];
}

const INTRO = `# Configuration

Both programs read one YAML file: \`--config FILE\`, without it \`/etc/nbackup/agent.yaml\` or \`/etc/nbackup/server.yaml\`.
\`check-config\` reads it and says everything that is wrong with it, each with its line, what was found and what is allowed, without
starting anything. An unknown key is an error, so that a slip of the pen does not silently mean a default.

- Sizes are written \`64kb\`, \`256mb\`, \`1gb\`, \`2tb\` (powers of 1024, any case), durations \`500ms\`, \`30s\`, \`5m\`, \`1h\`, \`2d\`.
- Names (of agents, backup entries and storages) are 1 to 64 of \`A-Z a-z 0-9 . _ -\`, the first a letter or digit.
- Relative paths count from the directory of the configuration file. Sources are absolute.
- A value that begins with a star, like \`*.log\`, must be quoted: YAML takes \`*\` for something else.
- Keys marked † are checked but have no effect yet; setting one gives a warning.

The sources of one entry may not lie inside each other, nor the directories of two storages (symbolic links are followed).
\`resume.buffer_size\` must hold (workers + 4) × (chunk_size + 1mb): a chunk in each thread that compresses and four on their way.
`;

/** The whole of docs/configuration.md. */
export function configReference(): string {
  const files = [
    fileReference("agent.yaml", agentSchema, AGENT_LATER),
    fileReference("server.yaml", serverSchema, SERVER_LATER),
  ];
  return `${INTRO}\n${files.join("\n")}`;
}

function fileReference(
  file: string,
  schema: Schema<unknown>,
  later: readonly { readonly path: readonly string[]; readonly but?: readonly string[] }[],
): string {
  const marked = new Map(later.map(({ path, but = [] }) => [path.join("."), but]));
  const sections: Section[] = [];
  collect(schema, [], false, sections, marked);
  const parts = sections.filter(({ rows }) => rows.length > 0).map(sectionText);
  return `## ${file}\n\n${parts.join("\n")}`;
}

/** Gathers a section's own keys, then its sections after each other. */
function collect(
  schema: Schema<unknown>,
  path: readonly string[],
  isLater: boolean,
  sections: Section[],
  marked: ReadonlyMap<string, readonly string[]>,
  intro = "",
): void {
  const structure = structureOf(schema);
  const inner = structure?.kind === "list" ? structure.item : structure?.kind === "map" ? structure.value : undefined;
  if (inner !== undefined) collect(inner, [...path, "*"], isLater, sections, marked, intro);
  if (structure?.kind !== "section") return;
  const section: Section = { title: shownPath(path), intro, rows: [] };
  sections.push(section);
  for (const [key, child] of Object.entries(structure.shape)) {
    const childPath = [...path, key];
    const works = marked.get(path.join("."))?.includes(key) === true;
    const childLater = !works && (isLater || marked.has(childPath.join(".")));
    const mark = childLater ? " †" : "";
    const either = isEither(child);
    if (either || !holdsSection(child)) section.rows.push({ key, mark, text: rowText(child) });
    if (!holdsSection(child)) continue;
    const note = noteOf(child);
    const partly = (marked.get(childPath.join(".")) ?? []).length > 0;
    const required = note?.fallback === "required" ? " Required." : "";
    const whole = `${note?.what ?? ""}${required}${partly ? "" : mark}`;
    const introOf = either ? `Of each item where \`${key}\` is a list.` : whole;
    collect(child, childPath, childLater, sections, marked, introOf);
  }
}

function rowText(schema: Schema<unknown>): string {
  const note = noteOf(schema);
  const allowed = `Allowed: ${structureOf(schema)?.allowed ?? ""}.`;
  const fallback = note?.fallback === "required" ? "Required." : `Default: ${note?.fallback ?? "none"}.`;
  const facts = [allowed, fallback, note?.why].filter((text) => text !== undefined).join(" ");
  return `${note?.what ?? ""}\n  ${facts.replaceAll("*", "\\*")}`;
}

function holdsSection(schema: Schema<unknown>): boolean {
  const structure = structureOf(schema);
  if (structure?.kind === "list") return holdsSection(structure.item);
  return structure?.kind === "section" || structure?.kind === "map";
}

function isEither(schema: Schema<unknown>): boolean {
  const structure = structureOf(schema);
  return structure?.kind === "list" && structure.orValue === true;
}

/** `backups[].sources[]`, `storages.<name>`. */
function shownPath(path: readonly string[]): string {
  return path
    .map((part, index) =>
      part === "*" ? (path[index - 1] === "storages" ? ".<name>" : "[]") : index === 0 ? part : `.${part}`,
    )
    .join("");
}

function sectionText({ title, intro, rows }: Section): string {
  const heading = title === "" ? "### At the top level" : `### \`${title}\``;
  const prefix = title === "" ? "" : `${title}.`;
  const items = rows.map((row) => `- **\`${prefix}${row.key}\`**${row.mark}: ${row.text}\n`);
  return `${heading}\n\n${intro === "" ? "" : `${intro}\n\n`}${items.join("")}`;
}

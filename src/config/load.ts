/**
 * Loads a configuration file: all of its problems at once as a ConfigFailure, or the configuration with its warnings. Nothing is
 * started, created or connected to, so that check-config and a reload can do the same.
 */
import path from "node:path/posix";
import { checkAgentRules } from "./agent-rules.ts";
import { agentSchema, toAgentConfig } from "./agent-schema.ts";
import type { ConfigDisk } from "./disk.ts";
import { AGENT_LATER, laterWarnings, SERVER_LATER } from "./later.ts";
import type { Schema } from "./parts.ts";
import { type Places, placesOf } from "./places.ts";
import { byLine, ConfigFailure, type ConfigProblem } from "./problem.ts";
import type { RuleReport } from "./rules.ts";
import { checkSchema, problemAt } from "./schema-problems.ts";
import { checkServerRules } from "./server-rules.ts";
import { serverSchema, toServerConfig } from "./server-schema.ts";
import type { Environment } from "./state-dir.ts";
import type { AgentConfig, ServerConfig } from "./types.ts";
import { readYaml, type YamlText } from "./yaml-text.ts";

export interface LoadContext {
  readonly disk: ConfigDisk;
  /** STATE_DIRECTORY is all that is read of it. */
  readonly env: Environment;
  /** What a relative path of the configuration file counts from. */
  readonly workingDir: string;
}

export interface Loaded<T> {
  readonly config: T;
  /** What the file holds, before any default. */
  readonly content: unknown;
  /** In the order of the file. */
  readonly warnings: readonly ConfigProblem[];
}

/** Throws ConfigFailure: E_CONFIG_READ when the file cannot be read, E_CONFIG for what is wrong in it. */
export function loadAgentConfig(file: string, context: LoadContext): Loaded<AgentConfig> {
  const places = placesOf(path.resolve(context.workingDir, file));
  const { raw, content, warnings } = load(file, context, {
    schema: agentSchema,
    rules: checkAgentRules,
    later: AGENT_LATER,
  });
  return { config: toAgentConfig(raw, places, context.env), content, warnings };
}

/** Throws ConfigFailure: E_CONFIG_READ when the file cannot be read, E_CONFIG for what is wrong in it. */
export function loadServerConfig(file: string, context: LoadContext): Loaded<ServerConfig> {
  const places: Places = placesOf(path.resolve(context.workingDir, file));
  const { raw, content, warnings } = load(file, context, {
    schema: serverSchema,
    rules: (content, report) =>
      checkServerRules(content, { places, env: context.env, realPath: (dir) => context.disk.realPath(dir) }, report),
    later: SERVER_LATER,
  });
  return { config: toServerConfig(raw, places, context.env), content, warnings };
}

interface FileKind<T> {
  readonly schema: Schema<T>;
  readonly rules: (content: unknown, report: RuleReport) => void;
  readonly later: Parameters<typeof laterWarnings>[2];
}

function load<T>(
  file: string,
  context: LoadContext,
  kind: FileKind<T>,
): { raw: T; content: unknown; warnings: readonly ConfigProblem[] } {
  const reading = readYaml(file, context.disk.read(path.resolve(context.workingDir, file)));
  if (reading.text === undefined) throw new ConfigFailure(byLine(reading.problems));
  const checked = checkSchema(file, reading.text, kind.schema);
  const ruled = applyRules(file, reading.text, kind.rules);
  const problems = [...reading.problems, ...checked.problems, ...ruled.problems];
  if (problems.length > 0 || checked.raw === undefined) throw new ConfigFailure(byLine(problems));
  const warnings = byLine([...ruled.warnings, ...laterWarnings(file, reading.text, kind.later)]);
  return { raw: checked.raw, content: reading.text.content, warnings };
}

function applyRules(
  file: string,
  text: YamlText,
  rules: (content: unknown, report: RuleReport) => void,
): { readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  rules(text.content, (at, message, options = {}) => {
    const problem = options.hint === undefined ? { message } : { message, hint: options.hint };
    (options.warning === true ? warnings : problems).push(problemAt(file, text, at, problem));
  });
  return { problems, warnings };
}

/** What must hold between keys of server.yaml. Like agent-rules.ts, each rule reads the keys it needs by itself. */
import { normalize } from "node:path/posix";
import { isName, NAME_RULE } from "#base/names.ts";
import { formatSize, MiB } from "#base/units.ts";
import { pick } from "./parts.ts";
import { isWithin, type Places } from "./places.ts";
import { entriesAt, memberOf, type RuleReport } from "./rules.ts";
import { chunkBufferShape, serverShape } from "./server-schema.ts";
import { defaultStateDir, type Environment } from "./state-dir.ts";
import { compressionModeOf, LEVEL_MAX } from "./storage-schema.ts";
import { filePath, integer, word } from "./values.ts";
import { webUiShape } from "./web-ui-schema.ts";

/** What memory_limit is at least. */
const SESSIONS_BYTES_MIN = 64 * MiB;

export interface ServerRuleContext {
  readonly places: Places;
  readonly env: Environment;
  /** `path` without symbolic links, as far as it exists. */
  readonly realPath: (path: string) => string;
}

export function checkServerRules(content: unknown, context: ServerRuleContext, report: RuleReport): void {
  const storages = entriesAt(content, "storages");
  for (const [name, storage] of storages) checkStorage(name, storage, report);
  checkBaseDirs(content, storages, context, report);
  checkMemory(content, report);
  checkPorts(content, report);
  checkWebUi(memberOf(content, "web_ui"), report);
  checkRecordFiles(memberOf(content, "web_ui"), report);
}

/** Who enrols has no certificate, so that is never the port of agents. Without ca_key there is no such port. */
function checkPorts(content: unknown, report: RuleReport): void {
  if (memberOf(memberOf(content, "tls"), "ca_key") === undefined) return;
  const server = memberOf(content, "server");
  const [agents, enroll] = [serverShape.listen, serverShape.enroll_listen].map((schema, index) =>
    pick(schema, memberOf(server, index === 0 ? "listen" : "enroll_listen")),
  );
  if (agents === undefined || enroll === undefined || agents.port !== enroll.port) return;
  if (agents.host !== enroll.host && ![agents.host, enroll.host].some(isEverywhere)) return;
  report(["server", "enroll_listen"], `is port ${enroll.port}, which is server.listen already, allowed: another port`);
}

function isEverywhere(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Two kinds of records in one file would overwrite each other. */
function checkRecordFiles(web: unknown, report: RuleReport): void {
  const seen = new Map<string, string>();
  for (const key of ["events_file", "session_history_file", "active_sessions_file"] as const) {
    const file = pick(webUiShape[key], memberOf(web, key));
    if (file === undefined) continue;
    const name = normalize(file);
    const other = seen.get(name);
    if (other !== undefined) {
      report(
        ["web_ui", key],
        `found ${JSON.stringify(file)}, which is web_ui.${other} already, allowed: a file of its own`,
      );
    }
    seen.set(name, key);
  }
}

/** Not an error: the sessions run, one at a time. */
function checkMemory(content: unknown, report: RuleReport): void {
  const limitBytes = pick(serverShape.memory_limit, memberOf(memberOf(content, "server"), "memory_limit"));
  const bufferBytes = pick(chunkBufferShape.size, memberOf(memberOf(content, "chunk_buffer"), "size"));
  if (limitBytes === undefined || bufferBytes === undefined || bufferBytes === 0) return;
  if (limitBytes - bufferBytes >= SESSIONS_BYTES_MIN) return;
  report(
    ["chunk_buffer", "size"],
    `of ${formatSize(bufferBytes)} leaves less than ${formatSize(SESSIONS_BYTES_MIN)} of server.memory_limit (${formatSize(limitBytes)}) to sessions`,
    { hint: "Raise server.memory_limit, or fewer sessions run at a time than max_sessions allows.", warning: true },
  );
}

function checkStorage(name: string, storage: unknown, report: RuleReport): void {
  if (!isName(name)) report(["storages", name], `found a storage of this name, allowed: a name: ${NAME_RULE}`);
  const mode = pick(word(["gzip", "zst", "zstd"]), memberOf(storage, "compression_mode") ?? "gzip");
  const level = pick(integer({ min: 1, max: LEVEL_MAX.zst }), memberOf(storage, "compression_level"));
  if (mode === undefined || level === undefined) return;
  const levelMax = LEVEL_MAX[compressionModeOf(mode)];
  if (level > levelMax) {
    report(
      ["storages", name, "compression_level"],
      `found ${level}, allowed with ${mode}: a whole number from 1 to ${levelMax}`,
    );
  }
}

interface BaseDir {
  readonly storage: string;
  readonly path: string;
  /** Without symbolic links. */
  readonly real: string;
}

/** Two storages in one tree would rotate, lock and count each other's archives. */
function checkBaseDirs(
  content: unknown,
  storages: readonly (readonly [string, unknown])[],
  context: ServerRuleContext,
  report: RuleReport,
): void {
  const seen: BaseDir[] = [];
  for (const [storage, raw] of storages) {
    const written = pick(filePath(), memberOf(raw, "base_dir"));
    if (written === undefined) continue;
    const key = ["storages", storage, "base_dir"];
    const path = context.places.absolute(written);
    if (path === "/") {
      report(key, 'found "/", allowed: a directory of its own');
      continue;
    }
    const dir: BaseDir = { storage, path, real: context.realPath(path) };
    const clash = seen.find((other) => overlap(path, other.path) || overlap(dir.real, other.real));
    if (clash !== undefined) {
      const hint = "Give each storage a directory of its own, none inside another.";
      report(key, clashText(dir, clash), { hint });
    }
    seen.push(dir);
  }
  checkStateDir(content, seen, context, report);
}

function clashText(dir: BaseDir, other: BaseDir): string {
  const asWritten = overlap(dir.path, other.path);
  const [a, b] = asWritten ? [dir.path, other.path] : [dir.real, other.real];
  const relation = a === b ? "is the directory of" : isWithin(a, b) ? "lies inside that of" : "holds that of";
  const through = asWritten ? "which" : `which is ${JSON.stringify(a)} and`;
  return `found ${JSON.stringify(dir.path)}, ${through} ${relation} storages.${other.storage} (${JSON.stringify(b)})`;
}

function overlap(a: string, b: string): boolean {
  return isWithin(a, b) || isWithin(b, a);
}

/** Not an error, because it works until an agent has the name of that directory. */
function checkStateDir(
  content: unknown,
  baseDirs: readonly BaseDir[],
  context: ServerRuleContext,
  report: RuleReport,
): void {
  const written = pick(filePath(), memberOf(memberOf(content, "server"), "state_dir"));
  const stateDir =
    written === undefined
      ? defaultStateDir("server", context.places.configFile, context.env)
      : context.places.absolute(written);
  const around = baseDirs.find(({ path }) => isWithin(stateDir, path));
  if (around === undefined) return;
  report(
    ["server", "state_dir"],
    `is ${JSON.stringify(stateDir)}, inside the directory of storages.${around.storage}`,
    {
      hint: "Keep the state directory apart from the archives.",
      warning: true,
    },
  );
}

function checkWebUi(web: unknown, report: RuleReport): void {
  const enabled = pick(webUiShape.enabled, memberOf(web, "enabled"));
  const origins = pick(webUiShape.allow_origins, memberOf(web, "allow_origins"));
  if (enabled === true && origins?.length === 0) {
    report(
      ["web_ui", "allow_origins"],
      "is missing, allowed while web_ui.enabled is true: a list of at least 1 address",
      { hint: 'For this machine only: allow_origins: ["127.0.0.1", "::1"].' },
    );
  }
  const downloads = pick(webUiShape.allow_download, memberOf(web, "allow_download"));
  if (downloads === true && memberOf(web, "password_file") === undefined) {
    report(["web_ui", "allow_download"], "found true, allowed only with web_ui.password_file");
  }
  const [cert, key] = [memberOf(web, "tls_cert"), memberOf(web, "tls_key")];
  if ((cert === undefined) !== (key === undefined)) {
    const [set, other] = cert === undefined ? ["tls_key", "tls_cert"] : ["tls_cert", "tls_key"];
    report(["web_ui", set], `found without web_ui.${other}, allowed: both or neither`);
  }
  const listen = pick(webUiShape.listen, memberOf(web, "listen"));
  const isOpen = listen !== undefined && !isLoopback(listen.host);
  if (enabled === true && isOpen && memberOf(web, "password_file") !== undefined && cert === undefined) {
    report(["web_ui", "password_file"], `found without web_ui.tls_cert while web_ui.listen is ${listen.host}`, {
      hint: "A password crosses a network only over TLS: set tls_cert and tls_key, or listen on 127.0.0.1.",
    });
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

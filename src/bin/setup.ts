/**
 * `nbackup-server setup`: from nothing to a server that starts. Each step looks at what is there first and makes what is missing, so
 * that running it again completes what was interrupted; the configuration comes last, because with it the service may start.
 */
import fs from "node:fs";
import path from "node:path";
import { systemClock, systemRandom } from "./system.ts";
import { Failure } from "#base/errors.ts";
import { EXIT } from "#cli/exit-codes.ts";
import type { SetupRequest } from "#cli/setup-command.ts";
import { DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { serverYaml } from "#config/made-server.ts";
import type { ServerConfig } from "#config/types.ts";
import { openAuthorityFiles } from "#pki/authority.ts";
import { CA_DAYS, LEAF_DAYS } from "#pki/validity.ts";
import { makeAuthority, type MakeContext, makeServer } from "#pki-tools/make.ts";
import { type Ask, type SetupAnswers, setupAnswers } from "./setup-questions.ts";
import {
  barrierOn,
  dropInPath,
  giveEmpty,
  makeDirectory,
  makePrivate,
  replaceFile,
  type SetupMachine,
  writeDropIn,
  writing,
} from "./setup-system.ts";

export interface SetupRun {
  readonly request: SetupRequest;
  readonly machine: SetupMachine;
  /** Undefined: nobody is there to be asked. */
  readonly ask: Ask | undefined;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Reads a configuration file; throws what is wrong with it. */
  readonly load: (file: string) => ServerConfig;
  /** Reads the certificates that it names; throws what is wrong with them. */
  readonly check: (config: ServerConfig) => void;
}

/** What is to be there in the end. */
interface Plan {
  /** Absolute. */
  readonly configFile: string;
  /** Undefined: the configuration is there and stays. */
  readonly answers: SetupAnswers | undefined;
  /** Of the directory of the CA. */
  readonly pkiDir: string;
  readonly tls: Pick<ServerConfig["tls"], "caCertFile" | "serverCertFile" | "serverKeyFile" | "caKeyFile">;
  readonly baseDirs: readonly string[];
}

/** The exit status. Rejects with Failure E_USAGE, E_WRITE, E_CERTIFICATE, E_CONFIG. */
export async function runSetup(run: SetupRun): Promise<number> {
  const { request, machine, load } = run;
  const plan = await planOf(run);
  const told: string[] = [];
  const made = (what: string): void => void told.push(what);
  await makeCertificates(run, plan, made);
  for (const dir of plan.baseDirs) makeBaseDir(dir, run, made);
  if (plan.answers !== undefined) writeConfig(plan, plan.answers, request.force, made);
  const config = load(plan.configFile);
  if (machine.unitDir !== undefined) {
    const facts = {
      baseDirs: config.storages.map(({ baseDir }) => baseDir),
      ports: [config.server.listen.port, config.enrollListen.port],
    };
    if (writeDropIn(machine.unitDir, facts))
      made(`made  ${dropInPath(machine.unitDir)}: the service may write its storages`);
  }
  run.check(config);
  if (config.tls.caKeyFile !== undefined) {
    await openAuthorityFiles(config.tls.caCertFile, config.tls.caKeyFile, systemClock.wall());
  }
  warnOfBarriers(config, run);
  run.stdout([...told, "", ...nextSteps(config, run), ""].join("\n"));
  return EXIT.done;
}

async function planOf({ request, ask, load, stderr }: SetupRun): Promise<Plan> {
  const configFile = path.resolve(request.configFile);
  if (fs.existsSync(configFile) && !request.force) {
    const config = load(configFile);
    const { tls, storages } = config;
    if (unused(request)) {
      stderr(`note: ${configFile} is there and stays as it is; give --force to write it anew from the options\n`);
    }
    const pkiDir = path.dirname(tls.caCertFile);
    if (tls.caKeyFile === undefined && fs.existsSync(path.join(pkiDir, "ca-key.pem"))) {
      stderr(
        `note: tls.ca_key is not set, so no agent can enrol; with it: ca_key: ${path.join(pkiDir, "ca-key.pem")}\n`,
      );
    }
    return {
      ...{ configFile, tls, answers: undefined, pkiDir },
      baseDirs: storages.map(({ baseDir }) => baseDir),
    };
  }
  const found = await setupAnswers(request, ask);
  const storages = found.storages.map(({ name, baseDir }) => ({ name, baseDir: path.resolve(baseDir) }));
  const answers = { ...found, storages };
  const pkiDir = path.resolve(request.pkiDir ?? path.join(path.dirname(configFile), "pki"));
  const at = (name: string): string => path.join(pkiDir, name);
  // A CA whose key was taken elsewhere stays what it is: its owner makes certificates there.
  const keyElsewhere = fs.existsSync(at("ca.pem")) && !fs.existsSync(at("ca-key.pem"));
  const caKeyFile = answers.enroll && !keyElsewhere ? at("ca-key.pem") : undefined;
  if (answers.enroll && keyElsewhere) stderr(`note: ${at("ca-key.pem")} is not there, so no agent can enrol here\n`);
  return {
    ...{ configFile, answers, pkiDir, baseDirs: storages.map(({ baseDir }) => baseDir) },
    tls: { caCertFile: at("ca.pem"), serverCertFile: at("server.pem"), serverKeyFile: at("server-key.pem"), caKeyFile },
  };
}

/** An option that only counts when the configuration is written. */
function unused({ listen, enrollListen, storages, maxBackups, pkiDir, noEnroll }: SetupRequest): boolean {
  return (
    [listen, enrollListen, maxBackups, pkiDir].some((value) => value !== undefined) || storages.length > 0 || noEnroll
  );
}

async function makeCertificates(run: SetupRun, plan: Plan, made: (what: string) => void): Promise<void> {
  const { request, machine } = run;
  const { pkiDir, tls, answers } = plan;
  const { user } = machine;
  makeDirectory(path.dirname(plan.configFile), 0o755, undefined);
  // The service's group may pass through; keys are its user's alone.
  if (
    makeDirectory(
      pkiDir,
      user === undefined ? 0o700 : 0o750,
      user === undefined ? undefined : { uid: 0, gid: user.gid },
    )
  ) {
    made(`made  ${pkiDir}`);
  }
  const context: MakeContext = {
    nowMs: systemClock.wall(),
    random: systemRandom,
    notice: (text) => run.stderr(`note: ${text}\n`),
  };
  const options = { dir: pkiDir, json: false };
  const usual =
    path.join(pkiDir, "ca.pem") === tls.caCertFile && path.join(pkiDir, "server.pem") === tls.serverCertFile;
  if (!fs.existsSync(tls.caCertFile)) {
    if (!usual) throw missing(tls.caCertFile);
    await makeAuthority({ ...options, days: CA_DAYS, force: false }, context);
    made(`made  ${tls.caCertFile}, the CA, and its key ca-key.pem`);
  } else {
    made(`kept  ${tls.caCertFile}`);
  }
  if (!fs.existsSync(tls.serverCertFile) || !fs.existsSync(tls.serverKeyFile) || request.force) {
    if (!usual) throw missing(tls.serverCertFile);
    const hosts = answers?.hosts ?? (await setupAnswers({ ...request, storages: [], yes: true }, undefined)).hosts;
    const { certPath } = await makeServer(hosts, { ...options, days: LEAF_DAYS, force: request.force }, context);
    made(`made  ${certPath}, the server's certificate for ${hosts}`);
  } else {
    made(`kept  ${tls.serverCertFile}`);
  }
  makePrivate(tls.serverKeyFile, user);
  const caKey = tls.caKeyFile ?? path.join(pkiDir, "ca-key.pem");
  // Where the server is not to issue certificates, its user cannot read the CA's key either.
  const owner = tls.caKeyFile === undefined ? (user === undefined ? undefined : { uid: 0, gid: 0 }) : user;
  if (fs.existsSync(caKey)) makePrivate(caKey, owner);
}

function makeBaseDir(dir: string, { machine, stderr }: SetupRun, made: (what: string) => void): void {
  const { user } = machine;
  if (makeDirectory(dir, 0o700, user)) {
    made(`made  ${dir}`);
    return;
  }
  made(`kept  ${dir}`);
  if (user === undefined || giveEmpty(dir, user)) return;
  stderr(
    `warning: ${dir} belongs to another user than nbackup, and has something in it or lies in somebody's directory: the service cannot write there\n`,
  );
  stderr(`HINT: If it is a storage already: chown -R nbackup:nbackup ${dir}\n`);
}

function writeConfig(
  { configFile, tls, baseDirs }: Plan,
  answers: SetupAnswers,
  force: boolean,
  made: (what: string) => void,
): void {
  const content = serverYaml({
    ...{ listen: answers.listen, enrollListen: answers.enrollListen },
    ...{ caCert: tls.caCertFile, serverCert: tls.serverCertFile, serverKey: tls.serverKeyFile, caKey: tls.caKeyFile },
    storages: answers.storages.map(({ name }, index) => ({
      ...{ name, baseDir: baseDirs[index] ?? "", maxBackups: answers.maxBackups },
    })),
    checkCommand: `nbackup-server check-config${configOption(configFile)}`,
  });
  writing(configFile, () => {
    if (force && fs.existsSync(configFile)) fs.copyFileSync(configFile, `${configFile}.old`);
    replaceFile(configFile, content, 0o644);
  });
  made(`made  ${configFile}`);
}

/** The service's user must get through to what it reads and writes. */
function warnOfBarriers({ tls, storages, configFile }: ServerConfig, { machine, stderr }: SetupRun): void {
  const { user } = machine;
  if (user === undefined) return;
  const files = [configFile, tls.serverKeyFile, ...storages.map(({ baseDir }) => baseDir)];
  const barriers = new Set(files.map((file) => barrierOn(file, user)).filter((dir) => dir !== undefined));
  for (const dir of barriers) {
    stderr(`warning: the user nbackup may not pass through ${dir}\nHINT: chmod o+x ${dir}, or choose another place.\n`);
  }
}

function nextSteps({ configFile, tls, server, enrollListen }: ServerConfig, { machine }: SetupRun): string[] {
  const config = configOption(configFile);
  const start = machine.unitDir === undefined ? `nbackup-server${config}` : "systemctl enable --now nbackup-server";
  const enrols = tls.caKeyFile !== undefined;
  return [
    "Next:",
    "  1. start the server (or systemctl reload-or-restart it, if it runs):",
    `     ${start}`,
    ...(enrols
      ? [
          "  2. for each machine that is to be backed up:",
          `     nbackup-server pki enroll-token NAME${config}`,
          "     and run there what that prints",
        ]
      : [
          "  2. for each machine that is to be backed up, where the CA's key is:",
          "     nbackup-server pki agent NAME --dir DIR",
        ]),
    `Agents connect to port ${server.listen.port}${enrols ? `, and enrol on port ${enrollListen.port}` : ""}: let them through the firewall.`,
    ...(enrols ? [`Keep a copy of ${tls.caKeyFile} in a safe place: who has it can make certificates.`] : []),
  ];
}

function configOption(configFile: string): string {
  return configFile === DEFAULT_SERVER_CONFIG_FILE ? "" : ` --config ${configFile}`;
}

function missing(file: string): Failure {
  return new Failure("E_CERTIFICATE", `${file} does not exist, and setup makes only ca.pem and server.pem`, {
    hint: "Correct the paths under tls, or make it with nbackup-server pki.",
  });
}

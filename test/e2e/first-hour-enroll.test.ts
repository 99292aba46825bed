/** From nothing to the first archive with the compiled programs: setup, server, token, enrolment, check-config, backup. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import { FirstHour, NOBODY } from "#test/support/first-hour.ts";
import type { ServerProcess } from "#test/support/server-process.ts";

let hour: FirstHour;
let server: ServerProcess;

beforeAll(async () => {
  hour = await FirstHour.make();
}, 600_000);
afterAll(async () => {
  await hour.remove();
});

const mode = (file: string): string => (fs.statSync(file).mode & 0o777).toString(8);

test("setup makes a configuration that check-config takes without a warning, and says what comes next", async () => {
  const { exitCode, stdout, stderr } = await hour.setup();
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).toContain(`nbackup-server pki enroll-token NAME --config ${hour.serverConfig}`);
  const checked = await hour.server("check-config");
  expect([checked.exitCode, checked.stderr]).toEqual([0, ""]);
  expect(checked.stdout).toContain("can be used");
  expect(mode(hour.at("server", "pki", "ca-key.pem"))).toBe("600");
  expect(mode(hour.at("server", "pki", "server-key.pem"))).toBe("600");
}, 60_000);

test("check-config says when the CA's key cannot be used, or when others can read it", async () => {
  const key = hour.at("server", "pki", "ca-key.pem");
  fs.chmodSync(key, 0o644);
  const open = await hour.server("check-config");
  expect([open.exitCode, open.stdout]).toEqual([0, expect.stringContaining("ca-key.pem: has mode 0644")]);
  fs.renameSync(key, `${key}.away`);
  const gone = await hour.server("check-config");
  expect([gone.exitCode, gone.stderr]).toEqual([
    2,
    expect.stringMatching(/^E_CERTIFICATE: .*ca-key\.pem: cannot be read/),
  ]);
  fs.renameSync(`${key}.away`, key);
  // Setup again mends the mode.
  expect((await hour.setup()).exitCode).toBe(0);
  expect(mode(key)).toBe("600");
}, 60_000);

test("setup asks when nothing is said, and takes its answers from standard input", async () => {
  const config = hour.at("asked", "server.yaml");
  const child = Bun.spawn([hour.executables.server, "setup", "--config", config], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "pipe",
  });
  // As a terminal does, it stays open: the command ends all the same.
  child.stdin.write(`localhost\nnonsense\n127.0.0.1:${hour.port}\nbig\n\n7\nno\n`);
  await child.stdin.flush();
  const asked = await child.stderr.text();
  expect(await child.exited).toBe(0);
  await child.stdin.end();
  expect(asked).toContain("the port is missing\nListen for agents on [0.0.0.0:9847]: ");
  expect(fs.readFileSync(config, "utf8")).toContain(`  big:\n`);
  const silent = await hour.run([hour.executables.server, "setup", "--config", hour.at("silent", "server.yaml")]);
  expect([silent.exitCode, silent.stderr]).toEqual([2, expect.stringContaining("E_USAGE: nobody answers any more")]);
  expect(fs.existsSync(hour.at("silent"))).toBe(false);
}, 60_000);

test("no token is made while no server runs", async () => {
  const { exitCode, stderr } = await hour.server("pki", "enroll-token", "web-01");
  expect([exitCode, stderr.split(":")[0]]).toEqual([1, "E_NOT_RUNNING"]);
}, 60_000);

test("a machine enrols with the command that enroll-token prints, and its first backup is an archive", async () => {
  server = await hour.startServer();
  const { exitCode, stdout } = await hour.server("pki", "enroll-token", "web-01");
  expect(exitCode).toBe(0);
  const [program, command, where, token, ...rest] = stdout.trim().split(" ");
  expect([program, command, where, rest]).toEqual(["nbackup-agent", "enroll", `localhost:${hour.enrollPort}`, []]);
  const enrolled = await hour.enroll("web", token ?? "", { where: where ?? "" });
  expect([enrolled.exitCode, enrolled.stderr]).toEqual([0, ""]);
  expect(enrolled.stdout).toStartWith("This machine is enrolled as web-01.\n");
  expect(fs.readdirSync(hour.at("web")).sort()).toEqual(["agent-key.pem", "agent.pem", "agent.yaml", "ca.pem"]);
  expect(mode(hour.at("web", "agent-key.pem"))).toBe("600");
  const listed = await hour.server("agents");
  expect(listed.stdout).toMatch(/^web-01 +enrolled, not seen yet /m);
  const checked = await hour.agent("web", "check-config");
  expect([checked.exitCode, checked.stderr]).toEqual([0, ""]);
  const backup = await hour.agent("web", "--once");
  expect([backup.exitCode, backup.stderr]).toEqual([0, ""]);
  expect((await hour.server("agents")).stdout).toMatch(/^web-01 +away, seen /m);
  expect(hour.archives().filter((file) => /^web-01\/system\/.*\.tar\.gz$/.test(file))).toHaveLength(1);
}, 60_000);

test("the port is closed when no token is good, and the token is of no use any more", async () => {
  await server.printed(/the enrolment port is closed/);
  const { token } = await hour.token("db-01");
  await hour.enroll("db", token);
  const again = await hour.enroll("db2", token);
  expect([again.exitCode, again.stderr.split(":")[0]]).toEqual([1, "E_CONNECT"]);
  expect(again.stderr).toContain("open only while a token is good");
  // While another token is good, the used one is known for what it is.
  await hour.token("other");
  const used = await hour.enroll("db2", token);
  expect([used.exitCode, used.stderr.split("\n")[0]]).toEqual([1, "E_ENROLL_TOKEN: the token was used already"]);
  expect(fs.readdirSync(hour.at("db2"))).toEqual([]);
}, 60_000);

test("an enrolment never overwrites what is there, unless told, and then keeps the old configuration", async () => {
  const { token } = await hour.token("db-01", "--replace");
  const before = fs.readFileSync(hour.at("db", "agent-key.pem"), "utf8");
  const refused = await hour.enroll("db", token);
  expect([refused.exitCode, refused.stderr.split(":")[0]]).toEqual([2, "E_USAGE"]);
  expect(fs.readFileSync(hour.at("db", "agent-key.pem"), "utf8")).toBe(before);
  const forced = await hour.enroll("db", token, { more: ["--force"] });
  expect([forced.exitCode, forced.stderr]).toEqual([0, ""]);
  expect(fs.readdirSync(hour.at("db")).sort()).toEqual([
    ...["agent-key.pem", "agent.pem", "agent.yaml", "agent.yaml.old", "ca.pem"],
  ]);
  expect(fs.readFileSync(hour.at("db", "agent-key.pem"), "utf8")).not.toBe(before);
}, 60_000);

test("with --replace the new machine backs up and the old one's certificate is revoked", async () => {
  const refused = await hour.server("pki", "enroll-token", "web-01");
  expect([refused.exitCode, refused.stderr.split(":")[0]]).toEqual([1, "E_ENROLL_LIVE"]);
  const { token, replace } = await hour.token("web-01", "--replace");
  expect(replace).toBe(true);
  // Until the new one is delivered the old one goes on.
  expect((await hour.agent("web", "--once")).exitCode).toBe(0);
  expect((await hour.enroll("web-new", token)).exitCode).toBe(0);
  const old = await hour.agent("web", "--once");
  expect([old.exitCode, old.stderr]).toEqual([1, expect.stringContaining("E_REVOKED")]);
  expect((await hour.agent("web-new", "--once")).exitCode).toBe(0);
}, 60_000);

test("a reload keeps the port open, and a new certificate of the server counts on it at once", async () => {
  const { token } = await hour.token("reload-01");
  const closings = (): number => server.output.split("the enrolment port is closed").length;
  const before = closings();
  for (const round of [1, 2]) {
    server.kill("SIGHUP");
    await server.printed(new RegExp(`(?:"event":"server.reloaded"[^]*){${round}}`));
    if (round === 2) break;
    const renewed = await hour.run([
      ...[hour.executables.server, "pki", "renew", "server"],
      ...["--dir", hour.at("server", "pki")],
    ]);
    expect(renewed.exitCode).toBe(0);
  }
  expect(closings()).toBe(before);
  const presented = await hour.run([
    "openssl",
    "s_client",
    "-connect",
    `127.0.0.1:${hour.enrollPort}`,
    "-alpn",
    "nbackup-enroll/1",
  ]);
  const shown = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(presented.stdout)?.[0] ?? "";
  const lies = new X509Certificate(fs.readFileSync(hour.at("server", "pki", "server.pem")));
  expect(new X509Certificate(shown).serialNumber).toBe(lies.serialNumber);
  const enrolled = await hour.enroll("reload", token);
  expect([enrolled.exitCode, enrolled.stderr]).toEqual([0, ""]);
}, 60_000);

test("a token may come on standard input, wrapped", async () => {
  const { token } = await hour.token("pipe-01");
  const command = [
    hour.executables.agent,
    "enroll",
    `127.0.0.1:${hour.enrollPort}`,
    "-",
    "--config",
    hour.agentConfig("pipe"),
  ];
  const child = Bun.spawn([...command, `--source=${hour.at("source")}`], {
    stdin: Buffer.from(`${token.slice(0, 40)}\n  ${token.slice(40)}\n`),
    stdout: "ignore",
    stderr: "pipe",
  });
  expect([await child.stderr.text(), await child.exited]).toEqual(["", 0]);
}, 60_000);

test("a machine with a server beside it shares no file with it, and does not back up the storages", async () => {
  const { token } = await hour.token("both");
  const where = [hour.executables.agent, "enroll", `127.0.0.1:${hour.enrollPort}`, token];
  const { exitCode, stderr } = await hour.run([...where, "--config", hour.at("server", "agent.yaml")]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  const yaml = fs.readFileSync(hour.at("server", "agent.yaml"), "utf8");
  expect(yaml).toContain(`- "${hour.at("server", "storage")}/**"`);
  expect(yaml).toContain("- path: /etc\n");
  const cert = new X509Certificate(fs.readFileSync(hour.at("server", "agent.pem")));
  expect(cert.subject).toBe("CN=both");
}, 60_000);

test("a machine that may use no storage is told so, and what to do, here and in its configuration", async () => {
  const yaml = fs.readFileSync(hour.serverConfig, "utf8");
  fs.writeFileSync(hour.serverConfig, yaml.replace(/^( +)base_dir:.*$/m, '$&\n$1allow_agents: ["web-*"]'));
  const reloads = server.output.split('"event":"server.reloaded"').length;
  server.kill("SIGHUP");
  await server.printed(new RegExp(`(?:"event":"server.reloaded"[\\s\\S]*){${reloads}}`));
  const enrolled = await hour.enroll("lone", (await hour.token("lone")).token);
  expect(enrolled.exitCode).toBe(0);
  expect(enrolled.stderr).toStartWith("warning: the server has no storage that lone may use");
  expect(enrolled.stderr).toContain("HINT: On the server let allow_agents of a storage take lone");
  expect(fs.readFileSync(hour.agentConfig("lone"), "utf8")).toContain("# allow_agents of one take lone and reload it");
  expect((await hour.agent("lone", "check-config")).exitCode).toBe(0);
  const backup = await hour.agent("lone", "--once");
  expect([backup.exitCode, backup.stderr]).toEqual([1, expect.stringContaining("E_STORAGE_DENIED")]);
  fs.writeFileSync(hour.serverConfig, yaml);
}, 60_000);

test("its events tell of tokens, certificates and refusals", async () => {
  const { stdout } = await hour.server("events", "--limit", "200", "--json");
  const kinds = new Set(
    stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { kind: string }).kind),
  );
  for (const kind of [
    "enroll.token-made",
    "certificate.issued",
    "enroll.done",
    "enroll.refused",
    "certificate.revoked",
  ]) {
    expect([kind, kinds.has(kind)]).toEqual([kind, true]);
  }
}, 60_000);

test("all of it works for somebody who is not root, in a directory of his own", async () => {
  if (process.getuid?.() !== 0 || Bun.which("setpriv") === null) return;
  const home = await FirstHour.make();
  try {
    fs.mkdirSync(home.at("server"));
    fs.chownSync(home.at("server"), 65_534, 65_534);
    const made = await home.setup([], NOBODY);
    expect([made.exitCode, made.stderr]).toEqual([0, ""]);
    expect(fs.statSync(home.at("server", "pki", "ca-key.pem")).uid).toBe(65_534);
    const elsewhere = await home.run([...NOBODY, home.executables.server, "setup", "--yes"]);
    expect([elsewhere.exitCode, elsewhere.stderr.split(":")[0]]).toEqual([1, "E_WRITE"]);
  } finally {
    await home.remove();
  }
}, 60_000);

test("during a change of CAs a machine enrols with the server's old one, is certified by the new one, and trusts both", async () => {
  const change = await FirstHour.make();
  try {
    await change.setup();
    const made = await change.run([change.executables.server, "pki", "init", "--dir", change.at("new")]);
    expect(made.exitCode).toBe(0);
    const text = (...parts: string[]): string => fs.readFileSync(change.at(...parts), "utf8");
    fs.writeFileSync(change.at("server", "pki", "ca.pem"), text("server", "pki", "ca.pem") + text("new", "ca.pem"));
    fs.copyFileSync(change.at("new", "ca-key.pem"), change.at("server", "pki", "ca-key.pem"));
    await change.startServer();
    const { token } = await change.token("web-01");
    const enrolled = await change.enroll("web", token);
    expect([enrolled.exitCode, enrolled.stderr]).toEqual([0, ""]);
    expect(text("web", "ca.pem")).toBe(text("server", "pki", "ca.pem"));
    const issuer = new X509Certificate(text("new", "ca.pem"));
    expect(new X509Certificate(text("web", "agent.pem")).checkIssued(issuer)).toBe(true);
    const backup = await change.agent("web", "--once");
    expect([backup.exitCode, backup.stderr]).toEqual([0, ""]);
  } finally {
    await change.remove();
  }
}, 60_000);

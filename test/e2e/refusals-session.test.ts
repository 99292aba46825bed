/** Backups that a server, a certificate, the network or the source does not allow: one sentence, one code, nothing left. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { freePort } from "#scripts/lib/background.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { type DemoPki, expiredBy, makeDemoPki } from "#test/support/pki.ts";
import { expectRefusal } from "#test/support/refusal.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, AGENT, type AgentSettings, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { lacksRoot, patternBytes } from "#test/support/tree.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);
const NOBODY_ID = 65_534;
const NOBODY = ["setpriv", `--reuid=${NOBODY_ID}`, `--regid=${NOBODY_ID}`, "--clear-groups"];

let site: Site;
let server: ServerProcess;
let other: DemoPki;

beforeAll(async () => {
  site = await Site.make([AGENT, "guest"]);
  other = await makeDemoPki(site.at("other-pki"), { agents: [AGENT] });
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(300_000));
  server = await site.startServer({
    storages: { [STORAGE]: {}, private: { allow_agents: ["db-*"] } },
  });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const entry = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: "all",
  storage: STORAGE,
  sources: [{ path: site.at("source") }],
  ...more,
});

/** Both CAs: our side then accepts whoever the test wants to get through, and the other side has to refuse. */
function bothCas(): string {
  const file = site.at("both-cas.pem");
  writeFileSync(file, readFileSync(site.pki.caPath, "utf8") + readFileSync(other.caPath, "utf8"));
  return file;
}

async function refused(settings: Partial<AgentSettings> = {}): Promise<ReturnType<typeof agentEnd>> {
  const end = await site.once({ port: server.port, backups: [entry()], ...settings });
  for (const storage of [STORAGE, "private"]) {
    expect(archivesIn(site.storage(storage))).toEqual([]);
    expect(leftoversIn(site.storage(storage))).toEqual([]);
  }
  expect(end.reports.map(({ result }) => result)).toEqual(["failed"]);
  return end;
}

describe("the server refuses", () => {
  test("a storage that it does not have, and names those it has", async () => {
    const end = await refused({ backups: [entry({ storage: "mian" })] });
    expectRefusal(end, { exit: 1, code: "E_STORAGE_UNKNOWN", says: /mian/, hint: /main, private/ });
  });

  test("an agent that the storage does not allow", async () => {
    const end = await refused({ backups: [entry({ storage: "private" })] });
    expectRefusal(end, { exit: 1, code: "E_STORAGE_DENIED", says: /private.*web-1/, hint: /allow_agents/ });
  });

  test("an agent whose certificate another CA issued, and says so in its log", async () => {
    const end = await refused({ pair: other.agent(AGENT), caPath: bothCas() });
    expectRefusal(end, { exit: 1, code: "E_TLS", hint: /its log/ });
    expect(server.stderr).toMatch(/"code":"E_TLS".*was issued by a CA that tls\.ca_cert does not hold/);
  });
});

describe("the agent refuses", () => {
  test("a server whose certificate another CA issued, at the first attempt", async () => {
    const end = await refused({ pair: other.agent(AGENT), caPath: other.caPath });
    expectRefusal(end, { exit: 1, code: "E_TLS", says: /was issued by a CA that tls\.ca_cert does not hold/ });
    expect(end.stderr).not.toMatch(/trying again/);
  });

  test("a server whose certificate does not name the host that was dialled", async () => {
    const onlyAddress = await site.pki.addServer("only-address", ["127.0.0.1"]);
    const elsewhere = await site.startServer({
      pair: onlyAddress,
      storages: { elsewhere: {} },
      server: { state_dir: site.at("state-elsewhere") },
    });
    const end = await refused({ port: elsewhere.port, host: "localhost" });
    expectRefusal(end, { exit: 1, code: "E_TLS", says: /does not name localhost/, hint: /server\.address/ });
    await elsewhere.stop();
  });

  test("a server whose certificate has expired", async () => {
    const pair = await site.pki.addServer("expired-server", ["127.0.0.1"], expiredBy(Date.now()));
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: readFileSync(pair.certPath, "utf8"), key: readFileSync(pair.keyPath, "utf8") },
      socket: { data: () => undefined },
    });
    const end = await refused({ port: listener.port });
    listener.stop(true);
    expectRefusal(end, { exit: 1, code: "E_TLS", says: /has expired/, hint: /clock/ });
  });

  test("something that listens but does not speak TLS", async () => {
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: (socket) => void socket.end("220 mail ESMTP\r\n"), data: () => undefined },
    });
    const end = await refused({ port: listener.port });
    listener.stop(true);
    expectRefusal(end, { exit: 1, code: "E_TLS", says: /does not speak TLS/ });
  });
});

describe("a server that cannot be reached", () => {
  test("is tried retry.max_attempts times, then the run ends with 1", async () => {
    const retry = { max_attempts: 3, initial_delay: "50ms", max_delay: "100ms" };
    const end = await refused({ port: freePort(), retry });
    expectRefusal(end, { exit: 1, code: "E_CONNECT", says: /nobody listens there/, hint: /nbackup-server runs/ });
    expect(end.stderr.match(/"no session yet, trying again"/g)).toHaveLength(2);
  });

  test("by a name that nobody knows is named in the sentence", async () => {
    const end = await refused({ host: "no-such-host.invalid", retry: { max_attempts: 1 } });
    expectRefusal(end, { exit: 1, code: "E_CONNECT", says: /no-such-host\.invalid/, hint: /name service/ });
  });

  test("and comes up while the agent retries gets its backup", async () => {
    const port = freePort();
    const retry = { max_attempts: 50, initial_delay: "50ms", max_delay: "200ms" };
    const config = await site.agentConfig({ port, backups: [entry({ storage: "late" })], retry });
    const agent = site.startAgent(config, ["--once", "--json"]);
    await agent.printed(/trying again/);
    const late = await site.startServer({
      port,
      storages: { late: {} },
      server: { state_dir: site.at("state-late") },
    });
    const end = agentEnd(await agent.end());
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    await late.stop();
  });
});

describe("a source", () => {
  test("that is missing fails its entry before the server is asked", async () => {
    const end = await refused({ backups: [entry({ sources: [{ path: site.at("unmounted") }] })], port: freePort() });
    expectRefusal(end, {
      exit: 1,
      code: "E_SOURCE_MISSING",
      says: /unmounted.*does not exist/,
      hint: /optional: true/,
    });
  });

  test("that is a symbolic link fails its entry, and the hint says what to do", async () => {
    symlinkSync(site.at("source"), site.at("link"));
    const end = await refused({ backups: [entry({ sources: [{ path: site.at("link") }] })] });
    expectRefusal(end, { exit: 1, code: "E_SOURCE_LINK", says: /link/ });
  });

  test.skipIf(lacksRoot())("whose root may not be read fails its entry", async () => {
    mkdirSync(site.at("locked"), { mode: 0o700 });
    const end = await onceAsNobody("locked", []);
    expectRefusal(end, { exit: 1, code: "E_SOURCE_MISSING", says: /locked.*cannot be read \(EACCES\)/ });
  });
});

/** Runs the agent as an ordinary user, with a copy of the key that is this user's own. */
async function onceAsNobody(source: string, args: readonly string[]): Promise<ReturnType<typeof agentEnd>> {
  const { certPath, keyPath } = site.pki.agent(AGENT);
  const pair = { certPath: site.at("nobody.pem"), keyPath: site.at("nobody-key.pem") };
  copyFileSync(certPath, pair.certPath);
  copyFileSync(keyPath, pair.keyPath);
  chownSync(pair.keyPath, NOBODY_ID, NOBODY_ID);
  const caPath = site.at("nobody-ca.pem");
  copyFileSync(site.pki.caPath, caPath);
  const backups = [entry({ name: "nobody", sources: [{ path: site.at(source) }] })];
  const config = await site.agentConfig({ port: server.port, backups, pair, caPath });
  return agentEnd(await site.startAgent(config, ["--once", "--json", ...args], NOBODY).end());
}

describe("files that may not be read", () => {
  test.skipIf(lacksRoot())(
    "are named, counted and left out; the rest is committed and the exit code is 3",
    async () => {
      const at = (name: string): string => site.at("mixed", name);
      mkdirSync(at("closed directory"), { recursive: true });
      for (const name of ["open", "closed", "closed directory/inside"]) writeFileSync(at(name), name);
      chmodSync(at("closed"), 0o000);
      chmodSync(at("closed directory"), 0o700);
      const end = await onceAsNobody("mixed", []);
      const [report] = end.reports;
      expect({ exit: end.exitCode, result: report?.result }).toEqual({ exit: 3, result: "committed" });
      const skipped = report?.skipped ?? [];
      expect(
        skipped.map(({ path: name, reason, errno }) => `${path.basename(name)} ${reason} ${errno}`).sort(),
      ).toEqual(["closed directory unreadable EACCES", "closed unreadable EACCES"]);
      expect(end.stderr).toMatch(/mixed\/closed: could not be read; not in the archive \(EACCES\)$/m);
      const listed = await mustRun(["tar", "tf", path.join(site.storage(), report?.archive ?? "")]);
      const names = listed
        .trimEnd()
        .split("\n")
        .map((name) => path.basename(name));
      expect(names).toContain("open");
      expect(names).not.toContain("closed");
      expect(names).not.toContain("inside");
    },
  );

  test.skipIf(lacksRoot())("keep --delete from nothing but themselves and what is below them", async () => {
    const config = await site.agentConfig({ port: server.port, backups: [entry({ name: "nobody" })] });
    const target = site.at("nobody-restored");
    const at = (name: string): string => path.join(target, site.at("mixed"), name);
    const restore = [site.executables.agent, "restore", "latest", "--backup", "nobody", "--to", target];
    await mustRun([...restore, "--config", config]);
    for (const name of ["closed", "closed directory/inside", "new", "closed directory 2"])
      writeFileSync(at(name), name);
    const said = await mustRun([...restore, "--delete", "--json", "--config", config]);
    expect(JSON.parse(said)).toMatchObject({ deleted: 2, problemCount: 0 });
    const left = readdirSync(at("."), { recursive: true }).map(String).sort();
    expect(left).toEqual(["closed", "closed directory", "closed directory/inside", "open"]);
  });
});

describe("a source that is missing and optional", () => {
  test("is passed over, and the others are backed up", async () => {
    const sources = [{ path: site.at("unmounted"), optional: true }, { path: site.at("source") }];
    const end = await site.once({ port: server.port, backups: [entry({ name: "optional", sources })] });
    expect({ exit: end.exitCode, entries: end.reports[0]?.entries }).toEqual({ exit: 0, entries: 2 });
  });
});

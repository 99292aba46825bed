/**
 * docs/getting-started.md, typed: every command of it, with the compiled programs, in the order of the page. What is not typed here stands in
 * ELSEWHERE with the test that does it, so that a command that is added to the page is run, or somebody says why not.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parse, stringify } from "yaml";
import { freePort } from "#scripts/lib/background.ts";
import { run } from "#scripts/lib/run.ts";
import { commandsOf, type DocBlock, type DocPage, docPage, withoutComment } from "#test/support/doc-pages.ts";
import { eventually } from "#test/support/debian-root.ts";
import { executablesIn } from "#test/support/executables.ts";
import { type Machine, Network, whyNoMachines } from "#test/support/two-machines.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

const page = docPage("docs/getting-started.md");
const BY_HAND = "By hand, without root";

/** Lines of the page that this test does not type, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "apt install ./nbackup-server_amd64.deb": "wants root and the package: packages.test.ts installs it",
  "apt install ./nbackup-agent_amd64.deb": "wants root and the package: packages.test.ts installs it",
  "systemctl enable --now nbackup-server": "wants systemd: packages-boot.test.ts starts the unit",
  "systemctl enable --now nbackup-agent": "wants systemd: packages-boot.test.ts starts the unit",
  "sha256sum --check --ignore-missing checksums.txt": "wants a release: packages.test.ts checks what build:deb writes",
  "install -m 0755 nbackup-server-linux-amd64 /usr/local/bin/nbackup-server": "wants root; it copies a file",
  "install -m 0755 nbackup-agent-linux-amd64 /usr/local/bin/nbackup-agent": "wants root; it copies a file",
  "useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin nbackup": "wants root; it makes a user",
};

/** Sections of other pages, typed after the numbered steps. */
const MORE: readonly (readonly [page: string, section: string])[] = [
  ["troubleshooting", "Where to look first"],
  ["monitoring", "Commands"],
  ["certificates", "What there is"],
  ["restore", "One file"],
  ["restore", "An older version of a file"],
  ["restore", "A whole tree"],
  ["restore", "Files that should not be there: --delete"],
  ["restore", "The server is lost, its disk is not"],
  ["restore", "A restore was interrupted"],
  ["migration", "Taking over old archives"],
  ["operations", "Stopping, upgrading, moving"],
  ["certificates", "With the CA on another machine"],
  ["certificates", "Renew by hand"],
];

/** What there is not on these machines: a journal, ssh, files copied by hand, the session and the archives of an example. */
const NOT_HERE = /^journalctl | ssh |^chown nbackup \/etc|3f0c6a52-|2026-02-1/;
/** A page about the server. */
const ON_SERVER = new Set(["docs/migration.md"]);

/** At questions the reader takes what is offered. */
const ENTER = String.raw`<<< $'\n\n\n\n\n\n\n\n'`;
/** A token as `enroll-token` prints it. */
const TOKEN = /\bnbe1[a-z2-7]+/;

/** The reader's way through the numbered steps, on both machines. */
class Walk {
  readonly #server: Machine;
  readonly #agent: Machine;
  readonly #running = new Map<string, Bun.Subprocess>();
  #token = "";
  #others: Machine;

  constructor(server: Machine, agent: Machine) {
    this.#server = server;
    this.#agent = agent;
    this.#others = agent;
  }

  /** Types a block of commands, or puts an example into the agent's configuration. */
  async block({ kind, lines }: DocBlock): Promise<void> {
    if (kind === "yaml") this.#edit(lines.join("\n"));
    if (kind === "commands") for (const line of lines.map(withoutComment)) await this.#line(line);
  }

  async section(from: DocPage, section: string): Promise<void> {
    const blocks = from.blocks.filter((block) => block.section === section && block.kind === "commands");
    expect([section, blocks.length]).not.toEqual([section, 0]);
    this.#others = ON_SERVER.has(from.file) ? this.#server : this.#agent;
    for (const block of blocks) await this.block(block);
  }

  #edit(example: string): void {
    const file = this.#agent.at("etc/nbackup/agent.yaml");
    const before = parse(readFileSync(file, "utf8")) as object;
    writeFileSync(file, stringify({ ...before, ...(parse(example) as object) }));
  }

  async #line(line: string): Promise<void> {
    if (line === "systemctl enable --now nbackup-server") await this.#startServer();
    else if (line === "systemctl enable --now nbackup-agent") await this.#startAgent();
    else if (line.startsWith("systemctl reload ")) this.#running.get(line.split(" ")[2] ?? "")?.kill("SIGHUP");
    else if (!Object.hasOwn(ELSEWHERE, line) && !NOT_HERE.test(line)) await this.#type(line);
  }

  async #type(line: string): Promise<void> {
    const own = line.startsWith("nbackup-agent ") ? this.#agent : this.#others;
    const machine = line.startsWith("nbackup-server ") ? this.#server : own;
    const { exitCode, stdout, stderr } = await machine.run(`${line.replace(/\bTOKEN\b/, this.#token)} ${ENTER}`);
    const logs = exitCode === 0 ? "" : `${this.#server.log()}\n${this.#agent.log()}`;
    expect([line, exitCode, stdout, stderr, logs]).toEqual([line, 0, expect.anything(), expect.anything(), ""]);
    if (line.includes("enroll-token")) this.#token = TOKEN.exec(stdout)?.[0] ?? "";
  }

  /** As the unit does. */
  async #startServer(): Promise<void> {
    const started = this.#server.start("setpriv --reuid=nbackup --regid=nbackup --clear-groups nbackup-server");
    this.#running.set("nbackup-server", started);
    const answers = async (): Promise<boolean> => (await this.#server.run("nbackup-server status")).exitCode === 0;
    await eventually("the server answers", answers);
  }

  async #startAgent(): Promise<void> {
    this.#running.set("nbackup-agent", this.#agent.start("nbackup-agent"));
    const connected = async (): Promise<boolean> => {
      const { stdout } = await this.#server.run("nbackup-server agents --json");
      return stdout.includes('"connected":true');
    };
    await eventually("the agent is connected", connected);
  }
}

let home = "";
let bin = "";

beforeAll(async () => {
  home = realpathSync(mkdtempSync(path.join(tmpdir(), "nbackup-docs-")));
  // The server runs as somebody else.
  chmodSync(home, 0o755);
  bin = path.join(home, "bin");
  await executablesIn(bin);
}, TIMEOUT_MS);
afterAll(() => {
  rmSync(home, { recursive: true, force: true });
});

function blocksOf(section: string): readonly DocBlock[] {
  return page.blocks.filter((block) => block.section === section && block.kind !== "text");
}

describe("getting started", () => {
  test(`has the commands of "${BY_HAND}" work as they stand there`, async () => {
    const directory = path.join(home, "you");
    mkdirSync(directory);
    const port = freePort();
    // The one directory and the one port that are not the reader's.
    const here = (line: string): string =>
      line.replaceAll("/home/you/nbackup-demo", path.join(directory, "nbackup-demo")).replaceAll(":9847", `:${port}`);
    const script = blocksOf(BY_HAND).flatMap(({ kind, lines }) => {
      if (kind === "commands") return lines.map(here);
      const [, file = ""] = /^# (\S+)$/.exec(lines[0] ?? "") ?? [];
      return [`cat > ${file} <<'END'`, ...lines.map(here), "END"];
    });
    const command = ["bash", "-euxo", "pipefail", "-c", [...script, "kill %1", "wait"].join("\n")];
    const { exitCode, stdout, stderr } = await run(command, {
      ...{ cwd: directory, timeoutMs: TIMEOUT_MS },
      env: { HOME: directory, PATH: `${bin}:${process.env["PATH"] ?? ""}`, LC_ALL: "C", STATE_DIRECTORY: "" },
    });
    expect([exitCode, stderr.split("\n").slice(-20)]).toEqual([0, expect.anything()]);
    expect(stdout).toContain("hello\n");
    expect(stdout).toContain(`${directory.slice(1)}/nbackup-demo/files/hello.txt\n`);
  });

  const whyNot = whyNoMachines();
  if (whyNot !== undefined) console.log(`not tried: the steps on two machines: ${whyNot}`);
  test.skipIf(whyNot !== undefined)(
    "has steps 1 to 6 work on two machines, in their order, and then the commands of other pages",
    async () => {
      const network = await Network.make();
      try {
        const server = await network.machine(path.join(home, "backup"), ["backup.example.org"], bin);
        const agent = await network.machine(path.join(home, "web-01"), ["backup.example.org"], bin);
        server.addUser("nbackup", 64_007, "var/lib/nbackup");
        await agent.run(
          "mkdir -p /home/user /etc/nginx /srv/www && echo hello | tee /home/user/letter.txt /etc/nginx/nginx.conf /srv/www/x",
        );
        const walk = new Walk(server, agent);
        for (const block of page.blocks) if (/^[1-6]\. /.test(block.section)) await walk.block(block);
        const archives = (): readonly string[] => readdirSync(server.at("srv/nbackup/web-01/system"));
        await eventually("the run that the server asked for is there too", () => {
          return archives().filter((name) => name.endsWith(".tar.gz")).length === 2;
        });
        await server.run("mkdir -p /mnt/disk /mnt/old && ln -s /srv/nbackup /mnt/disk/backup");
        await server.run("tar -czf /mnt/old/web-01-2025-12-31.tar.gz -C / root");
        for (const [name, section] of MORE) await walk.section(docPage(`docs/${name}.md`), section);
        const { stdout } = await agent.run("nbackup-agent restore latest --backup old --to /mnt/adopted --json");
        expect(JSON.parse(stdout)).toMatchObject({ restored: 1, problemCount: 0 });
        const spare = await network.machine(path.join(home, "spare"), ["backup.example.org"], bin);
        await new Walk(server, spare).section(docPage("docs/restore.md"), "A machine is lost");
        expect(readFileSync(spare.at("home/user/letter.txt"), "utf8")).toBe("hello\n");
        expect((await agent.run("nbackup-agent list")).stderr).toContain("E_REVOKED");
        const certificates = docPage("docs/certificates.md");
        for (const section of ["Revoke an agent", "Renew the CA"])
          await new Walk(server, spare).section(certificates, section);
        expect((await spare.run("nbackup-agent list")).stderr).toContain("E_REVOKED");
      } finally {
        await network.remove();
      }
    },
  );

  test("has no command that is not typed by a test", () => {
    const typed = page.blocks.filter(({ kind, section }) => kind === "commands" && section !== BY_HAND);
    const lines = typed.flatMap((block) => block.lines.map(withoutComment));
    const typedHere = (line: string): boolean =>
      commandsOf(line).every(([word = ""]) => /^(?:nbackup-.*|cmp)$/.test(word));
    expect(lines.filter((line) => !typedHere(line) && !Object.hasOwn(ELSEWHERE, line))).toEqual([]);
    expect(Object.keys(ELSEWHERE).filter((line) => !lines.includes(line))).toEqual([]);
  });
});

import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { linuxConfigDisk } from "#config/disk.ts";
import { loadAgentConfig, loadServerConfig } from "#config/load.ts";
import { CONFIG_BYTES_MAX } from "#config/yaml-text.ts";
import {
  agentOf,
  agentYaml,
  failureOf,
  FIXTURES,
  fixtureDisk,
  problemLines,
  serverOf,
  serverYaml,
} from "#test/support/config-fixtures.ts";

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-config-"));
afterAll(() => fs.rmSync(temporary, { recursive: true }));

function loadFixture(
  folder: string,
  file: string,
): ReturnType<typeof loadAgentConfig> | ReturnType<typeof loadServerConfig> {
  const context = { disk: fixtureDisk, env: {}, workingDir: path.join(FIXTURES, folder) };
  return file.startsWith("agent") ? loadAgentConfig(file, context) : loadServerConfig(file, context);
}

function fixtures(folder: string): string[] {
  return fs
    .readdirSync(path.join(FIXTURES, folder))
    .filter((file) => file.endsWith(".yaml.in"))
    .sort();
}

function expected(folder: string, file: string): string {
  return fs.readFileSync(path.join(FIXTURES, folder, file.replace(".yaml.in", ".expected")), "utf8");
}

describe("a wrong configuration file", () => {
  for (const file of fixtures("invalid")) {
    test(`${file} is refused with all of its problems, each with file, line, key, what was found and what is allowed`, () => {
      const failure = failureOf(() => loadFixture("invalid", file));
      expect(problemLines(failure.problems)).toBe(expected("invalid", file));
      expect([failure.code, failure.exitCode]).toEqual(["E_CONFIG", 2]);
    });
  }
});

describe("a correct configuration file", () => {
  for (const file of fixtures("valid")) {
    test(`${file} loads, and says which of its keys have no effect yet`, () => {
      expect(problemLines(loadFixture("valid", file).warnings)).toBe(expected("valid", file));
    });
  }
  test("the shipped examples load without a warning", () => {
    const examples = path.join(path.dirname(path.dirname(FIXTURES)), "..", "src", "config", "examples");
    const context = { disk: fixtureDisk, env: {}, workingDir: examples };
    expect(loadAgentConfig("agent.yaml.example", context).warnings).toEqual([]);
    expect(loadServerConfig("server.yaml.example", context).warnings).toEqual([]);
  });
});

describe("a configuration file that cannot be read", () => {
  const context = { disk: linuxConfigDisk, env: {}, workingDir: temporary };
  const cases: readonly [string, () => string, string][] = [
    ["does not exist", () => "missing.yaml", "the configuration file does not exist"],
    [
      "has a file for a directory in its path",
      () => write("plain", "") && "plain/agent.yaml",
      "the configuration file does not exist",
    ],
    ["is a directory", () => ".", "is a directory, not a file"],
    ["is a device", () => "/dev/null", "is not a regular file"],
    ["is a link in a circle", () => link("circle"), "is a symbolic link that leads in a circle"],
    ["is too large", () => write("large.yaml", "#".repeat(CONFIG_BYTES_MAX + 1)), `has ${CONFIG_BYTES_MAX + 1} bytes`],
  ];
  for (const [title, make, sentence] of cases) {
    test(`that ${title} ends in a sentence that names it, with exit code 2`, () => {
      const file = make();
      const failure = failureOf(() => loadAgentConfig(file, context));
      expect(failure.message).toStartWith(`${path.resolve(temporary, file)}: `);
      expect(failure.message).toContain(sentence);
      expect([failure.code, failure.exitCode]).toEqual(["E_CONFIG_READ", 2]);
      expect(failure.hint.length).toBeGreaterThan(10);
    });
  }
  function write(name: string, text: string): string {
    fs.writeFileSync(path.join(temporary, name), text);
    return name;
  }
  function link(name: string): string {
    fs.symlinkSync(name, path.join(temporary, name));
    return name;
  }
});

describe("the real path of a directory", () => {
  test("follows links of the part that exists and keeps the names of the part that does not", () => {
    const real = fs.realpathSync(temporary);
    fs.mkdirSync(path.join(temporary, "target"));
    fs.symlinkSync("target", path.join(temporary, "via"));
    expect(linuxConfigDisk.realPath(path.join(temporary, "via", "not", "there"))).toBe(
      path.join(real, "target", "not", "there"),
    );
    expect(linuxConfigDisk.realPath("/")).toBe("/");
  });
});

describe("a hostile configuration file", () => {
  const cases: readonly [string, () => string][] = [
    ["a mapping of 30,000 unknown keys", () => Array.from({ length: 30_000 }, (_, i) => `k${i}: v`).join("\n")],
    ["the same key 50,000 times", () => "a: 1\n".repeat(50_000)],
    ["a list of 50,000 wrong items", () => agentYaml("", `exclude: [${"1,".repeat(50_000)}]`)],
    ["20,000 storages", () => serverYaml(`more: {${Array.from({ length: 20_000 }, (_, i) => `s${i}: {}`).join(",")}}`)],
    ["brackets nested a hundred thousand deep", () => `a: ${"[".repeat(100_000)}`],
    ["question marks nested a hundred thousand deep", () => "? ".repeat(100_000)],
    ["mappings nested in one line", () => "a: {".repeat(50_000)],
    ["20,000 merges", () => `a: &a {x: 1}\n${Array.from({ length: 20_000 }, (_, i) => `k${i}: {<<: *a}\n`).join("")}`],
    ["nothing but anchors", () => "&a ".repeat(80_000)],
    ["a megabyte of one line", () => `a: ${"x".repeat(1_000_000)}`],
  ];
  for (const [title, make] of cases) {
    test(`with ${title} is refused in bounded time and with a bounded answer`, () => {
      const text = make();
      const started = performance.now();
      const failure = failureOf(() => agentOf(text));
      // A tenth of it on an idle machine; what grows with the square of the input takes minutes.
      expect(performance.now() - started).toBeLessThan(10_000);
      expect(failure.message.length).toBeLessThan(50_000);
    }, 20_000);
  }
  test("with more problems than anybody reads lists 50 and counts the rest", () => {
    const failure = failureOf(() => agentOf(agentYaml(Array.from({ length: 60 }, (_, i) => `k${i}: v`).join("\n"))));
    expect([failure.problems.length, failure.unlistedCount]).toEqual([50, 10]);
    expect(failure.message).toEndWith("; and 10 more problems");
  });
});

describe("where things lie", () => {
  test("relative paths count from the directory of the configuration file, not from where the program was started", () => {
    const { config } = agentOf(agentYaml("logging: {file: log/agent.log}"));
    expect(config.configFile).toBe("/etc/nbackup/agent.yaml");
    expect(config.tls.caCertFile).toBe("/etc/nbackup/ca.pem");
    expect(config.logging.file).toBe("/etc/nbackup/log/agent.log");
  });
  const stateDirs: readonly [string, string, Record<string, string>, string][] = [
    [
      "server.state_dir wins over the environment",
      "server: {state_dir: state}",
      { STATE_DIRECTORY: "/run/x" },
      "/etc/nbackup/state",
    ],
    [
      "$STATE_DIRECTORY comes next, the first of several",
      "",
      { STATE_DIRECTORY: "/var/lib/a:/var/lib/b" },
      "/var/lib/a",
    ],
    ["below /etc it is /var/lib/nbackup", "", {}, "/var/lib/nbackup"],
    ["a relative $STATE_DIRECTORY is ignored", "", { STATE_DIRECTORY: "here" }, "/var/lib/nbackup"],
  ];
  for (const [title, more, env, expectedDir] of stateDirs) {
    test(`the state directory: ${title}`, () => {
      expect(serverOf(serverYaml(more), env).config.server.stateDir).toBe(expectedDir);
    });
  }
  test("the state directory: elsewhere it lies beside the configuration file", () => {
    const config = serverOf(serverYaml(""), {}, "/home/me/try/server.yaml").config;
    expect(config.server.stateDir).toBe("/home/me/try/nbackup-state");
  });
  test("the page's records lie in the state directory, its certificates beside the configuration file", () => {
    const { webUi } = serverOf(serverYaml("web_ui: {tls_cert: ui.pem, tls_key: ui-key.pem}")).config;
    expect([webUi.eventsFile, webUi.tlsCertFile]).toEqual(["/var/lib/nbackup/events.jsonl", "/etc/nbackup/ui.pem"]);
  });
  test("a state directory among the archives is a warning", () => {
    const { warnings } = serverOf(serverYaml("server: {state_dir: /srv/main/state}"));
    expect(problemLines(warnings)).toContain(
      '/etc/nbackup/server.yaml:7: server.state_dir: is "/srv/main/state", inside the directory of storages.main',
    );
  });
});

const STORAGE = `tls: {ca_cert: ca.pem, server_cert: s.pem, server_key: k.pem}
storages:
  main: &main {base_dir: /srv/main, max_backups: 7}
`;

describe("what an administrator may write", () => {
  test("an anchor and << repeat a section elsewhere", () => {
    const text = `${STORAGE}  second:\n    <<: *main\n    base_dir: /srv/second\n`;
    const second = serverOf(text).config.storages[1];
    expect([second?.baseDir, second?.maxBackups]).toEqual(["/srv/second", 7]);
  });
  test("a problem in a merged section is told at the line of the merge", () => {
    const text = `${STORAGE}  second:\n    base_dir: /srv/second\n    <<: {max_backups: none}\n`;
    const failure = failureOf(() => serverOf(text));
    expect(problemLines(failure.problems)).toStartWith(
      '/etc/nbackup/server.yaml:6: storages.second.max_backups: found "none", allowed',
    );
  });
  test("a list or section with everything commented out is empty, but allow_agents must not come to mean everybody", () => {
    expect(agentOf(agentYaml("logging:", "exclude:")).config.backups[0]?.exclude).toEqual([]);
    expect(failureOf(() => serverOf(serverYaml("", "allow_agents:"))).message).toContain(
      "storages.main.allow_agents: found nothing",
    );
  });
  test("secrets are never shown, whatever else is wrong", () => {
    const text = agentYaml('password: hunter2\nlogging: {file: [hunter2], level: "PRIVATE KEY hunter2"}');
    const failure = failureOf(() => agentOf(text));
    expect(failure.problems.length).toBe(3);
    expect(`${failure.message}${problemLines(failure.problems)}`).not.toContain("hunter2");
  });
});

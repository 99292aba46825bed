import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import tar from "tar-stream";
import pkg from "#package.json" with { type: "json" };
import { AGENT_PROGRAM, parseAgentCommand } from "#cli/agent-command.ts";
import { parseServerCommand, SERVER_PROGRAM } from "#cli/server-command.ts";
import { HELP_TOPICS, helpText } from "#pki-tools/help.ts";
import { arArchive } from "#scripts/deb/ar.ts";
import { debianChangelog } from "#scripts/deb/changelog.ts";
import { copyrightFile } from "#scripts/deb/copyright.ts";
import { helpRows } from "#scripts/deb/help-rows.ts";
import { BUN_PARTS, bundledPackages } from "#scripts/deb/licences.ts";
import { manPage } from "#scripts/deb/man-page.ts";
import { AGENT_MANUAL, SERVER_MANUAL } from "#scripts/deb/manual.ts";
import { roffText } from "#scripts/deb/roff.ts";
import { directoriesOf, type PackageFile, tarOf } from "#scripts/deb/tree.ts";
import { inProject } from "#scripts/lib/project.ts";

const EPOCH_SECONDS = 1_700_000_000;
const file = (path: string, text: string, mode = 0o644): PackageFile => ({ path, mode, bytes: Buffer.from(text) });

describe("an ar archive", () => {
  test("has 60 bytes before each member and even lengths", () => {
    const bytes = Buffer.from(
      arArchive(
        [
          { name: "debian-binary", bytes: Buffer.from("2.0\n") },
          { name: "odd", bytes: Buffer.from("abc") },
        ],
        EPOCH_SECONDS,
      ),
    );
    expect(bytes.toString("latin1")).toBe(
      "!<arch>\n" +
        "debian-binary   1700000000  0     0     100644  4         `\n2.0\n" +
        "odd             1700000000  0     0     100644  3         `\nabc\n",
    );
  });
  test("takes no name that its header cannot hold", () => {
    for (const name of ["", "a name", "seventeen-letters", "ü"]) {
      expect(() => arArchive([{ name, bytes: Buffer.from("") }], EPOCH_SECONDS)).toThrow(RangeError);
    }
  });
});

describe("the tar of a package", () => {
  const files = [file("/usr/bin/b", "program", 0o755), file("/etc/a/b.example", "x"), file("/etc/a/a.example", "y")];

  test("has each directory once before what is in it, and files in the order of their names", async () => {
    const names: string[] = [];
    const extract = tar.extract();
    extract.end(Buffer.from(await tarOf(files, EPOCH_SECONDS)));
    for await (const entry of extract) {
      const { name, mode, uid, gid, uname, mtime, type } = entry.header;
      names.push(`${name} ${type} ${(mode ?? 0).toString(8)} ${uid}:${gid} ${uname} ${(mtime?.getTime() ?? 0) / 1000}`);
      entry.resume();
    }
    const rest = `0:0 root ${EPOCH_SECONDS}`;
    expect(names).toEqual([
      ...["./", "./etc/", "./etc/a/", "./usr/", "./usr/bin/"].map((name) => `${name} directory 755 ${rest}`),
      `./etc/a/a.example file 644 ${rest}`,
      `./etc/a/b.example file 644 ${rest}`,
      `./usr/bin/b file 755 ${rest}`,
    ]);
  });
  test("is the same whatever the order that the files come in", async () => {
    const [one, other] = await Promise.all([tarOf(files, 1), tarOf(files.toReversed(), 1)]);
    expect(Buffer.compare(one, other)).toBe(0);
  });
  test("has no directory that is not on the way to a file", () => {
    expect(directoriesOf([file("/a/b/c", "")])).toEqual(["/", "/a/", "/a/b/"]);
  });
});

describe("Debian's changelog", () => {
  const options = { packageName: "nbackup-agent", version: "1.2.0", maintainer: "N <n@b.invalid>", epochSeconds: 0 };

  test("has an entry for each release, and what is not released yet under the package's version", () => {
    const markdown = `# Changelog\n\n## [Unreleased]\n\n### Added\n\n- One thing\n  in two lines.\n- Another.\n\n## [1.1.0] - 2026-02-12\n\n- Old.\n`;
    expect(debianChangelog(markdown, options)).toBe(
      [
        "nbackup-agent (1.2.0) unstable; urgency=medium",
        "",
        "  * One thing in two lines.",
        "  * Another.",
        "",
        " -- N <n@b.invalid>  Thu, 01 Jan 1970 00:00:00 +0000",
        "",
        "nbackup-agent (1.1.0) unstable; urgency=medium",
        "",
        "  * Old.",
        "",
        " -- N <n@b.invalid>  Thu, 12 Feb 2026 00:00:00 +0000",
        "",
      ].join("\n"),
    );
  });
  test("loses no item of ours, and has no long line", () => {
    const markdown = readFileSync(inProject("CHANGELOG.md"), "utf8");
    const made = debianChangelog(markdown, options);
    expect(made.match(/^ {2}\* /gm)?.length).toBe(markdown.match(/^- /gm)?.length ?? -1);
    expect(made.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });
});

describe("the copyright file", () => {
  test("names every dependency of the executables, and what those depend on", () => {
    const named = bundledPackages().map(({ files }) => files);
    const direct = Object.keys(pkg.dependencies).map((name) => `node_modules/${name}/*`);
    expect(direct.filter((name) => !named.includes(name))).toEqual([]);
    expect(named).toContain("node_modules/sonic-boom/*");
    expect(named.filter((name) => name.includes("fast-check"))).toEqual([]);
  });
  test("has a holder, a licence and its words for each, in Debian's form", () => {
    const text = copyrightFile([...bundledPackages(), ...BUN_PARTS]);
    for (const paragraph of text.trimEnd().split("\n\n").slice(1)) {
      expect(paragraph).toMatch(/^Files: \S+\nCopyright: \S(?:.|\n)*\nLicense: \S+\n \S/);
      expect(
        paragraph
          .split("\n")
          .slice(1)
          .every((line) => /^( \S| {2}|[A-Z]\w+: )/.test(line)),
      ).toBe(true);
    }
  });
});

describe("text for roff", () => {
  test("has no character that roff would take for itself", () => {
    expect(roffText(`.a-b\\n 'x' HOST…`)).toBe("\\&.a\\-b\\en \\(aqx\\(aq HOST\\[u2026]");
  });
});

/** What a reader sees of it, on one line. */
function plain(page: string): string {
  return page
    .split("\n")
    .map((line) => line.replace(/^\.(SS|SH|TP|P|nf|fi|RS.*|RE|br)\b ?/, "").replace(/^\\&/, ""))
    .join(" ")
    .replace(/\\f[BIR]/g, "")
    .replaceAll("\\-", "-")
    .replaceAll("\\(aq", "'")
    .replaceAll("\\(ga", "`")
    .replaceAll("\\(ti", "~")
    .replace(/\\\[u([\dA-F]+)\]/g, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replaceAll("\\e", "\\")
    .replace(/\s+/g, " ");
}

describe("a man page", () => {
  for (const [program, manual, passedThrough] of [
    [AGENT_PROGRAM, AGENT_MANUAL, []],
    [SERVER_PROGRAM, SERVER_MANUAL, HELP_TOPICS.map(helpText)],
  ] as const) {
    const page = manPage({ program, manual, version: "1.2.3", date: "2026-02-12", passedThrough });
    const text = plain(page);

    test(`says every command, option and exit code that --help says: ${program.name}`, () => {
      const said = program.commands.flatMap(({ what, details, options, positionals }) => [
        ...[what, ...details],
        ...[...options, ...positionals].flatMap((one) => [one.name, one.what]),
      ]);
      expect(said.filter((sentence) => !text.includes(sentence.replace(/\s+/g, " ")))).toEqual([]);
      const codes = /Exit codes: (.*?)\. ?/.exec(program.footer.join(" "))?.[1]?.split(/; (?=\d)/) ?? [];
      expect(codes.length).toBeGreaterThan(4);
      expect(codes.filter((code) => !text.includes(code))).toEqual([]);
    });
    test(`gives only examples that the program takes: ${program.name}`, () => {
      const parse = program === AGENT_PROGRAM ? parseAgentCommand : parseServerCommand;
      for (const [command] of manual.examples) {
        const [name, ...words] = command.split(" ").map((word) => word.replaceAll("'", ""));
        expect(name).toBe(program.name);
        expect(() => parse(words, "1.2.3")).not.toThrow();
      }
    });
  }
  test("loses no word of the help that pki has of its own", () => {
    const page = manPage({
      ...{ program: SERVER_PROGRAM, manual: SERVER_MANUAL, version: "1", date: "2026-02-12" },
      passedThrough: HELP_TOPICS.map(helpText),
    });
    const words = (text: string): readonly string[] => text.match(/[\w[\]….,:;()-]+/g) ?? [];
    const said = new Set(words(plain(page)));
    const missing = HELP_TOPICS.flatMap((topic) => words(helpText(topic))).filter((word) => !said.has(word));
    expect(missing).toEqual([]);
  });
});

describe("a help text that was written by hand", () => {
  test("is a usage, paragraphs, and rows with what goes on below them", () => {
    expect(
      helpRows("tool copy [--all]\n\nCopies\nfiles.\n\n  --all   everything,\n          really\n  FILE  one\n"),
    ).toEqual([
      { kind: "usage", text: "tool copy [--all]" },
      { kind: "paragraph", text: "Copies files." },
      { kind: "row", term: "--all", text: "everything, really" },
      { kind: "row", term: "FILE", text: "one" },
    ]);
  });
});

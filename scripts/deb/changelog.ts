/** Debian's changelog of a package, made of CHANGELOG.md: a release there is an entry here. */
import { wrap } from "#cli/terminal-text.ts";

export interface ChangelogOptions {
  readonly packageName: string;
  /** Of what stands under Unreleased, and of the package. */
  readonly version: string;
  readonly maintainer: string;
  /** When nothing else says it. */
  readonly epochSeconds: number;
}

const COLUMNS_MAX = 76;

interface Release {
  readonly version: string;
  readonly epochSeconds: number;
  readonly changes: readonly string[];
}

/** `markdown` is CHANGELOG.md. What is not released yet stands under the package's version. */
export function debianChangelog(markdown: string, options: ChangelogOptions): string {
  const all = releases(markdown, options);
  if (all.length === 0) throw new Error("CHANGELOG.md has no section that begins with ## [");
  return all.map((release) => entry(release, options)).join("\n");
}

function releases(markdown: string, { version, epochSeconds }: ChangelogOptions): readonly Release[] {
  return markdown
    .split(/^## /m)
    .slice(1)
    .flatMap((section): Release[] => {
      const [, name = "", date] = /^\[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?/.exec(section) ?? [];
      const found = changes(section);
      if (found.length === 0) return [];
      const atSeconds = date === undefined ? epochSeconds : Date.parse(date) / 1000;
      return [{ version: name === "Unreleased" ? version : name, epochSeconds: atSeconds, changes: found }];
    });
}

/** The items of its lists, each one line. */
function changes(section: string): readonly string[] {
  return section
    .split(/^- /m)
    .slice(1)
    .map((item) => (item.split(/\n(?=\n|#)/)[0] ?? "").replace(/\s+/g, " ").trim());
}

function entry({ version, epochSeconds, changes }: Release, { packageName, maintainer }: ChangelogOptions): string {
  const lines = changes.flatMap((change) =>
    wrap(change, COLUMNS_MAX).map((line, index) => (index === 0 ? `  * ${line}` : `    ${line}`)),
  );
  const date = new Date(epochSeconds * 1000).toUTCString().replace("GMT", "+0000");
  return `${packageName} (${version}) unstable; urgency=medium\n\n${lines.join("\n")}\n\n -- ${maintainer}  ${date}\n`;
}

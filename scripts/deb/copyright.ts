/** The package's copyright file, in Debian's machine-readable form. Who holds what is licences.ts. */
import type { Licensed } from "./licences.ts";

const OWN: Licensed = {
  files: "*",
  copyright: ["2026 the nbackup authors"],
  licence: "Expat",
  text: `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so,
subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`,
};

const COMMENT = [
  "The executable is built from the files of nbackup, from the npm packages below node_modules, and carries Bun, which links what is",
  "below bun. Bun's own sources, and those of JavaScriptCore as it is linked, are published by its authors.",
];

export function copyrightFile(bundled: readonly Licensed[]): string {
  const header = [
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
    "Upstream-Name: nbackup",
    `Comment: ${COMMENT.join("\n ")}`,
  ].join("\n");
  return `${[header, ...[OWN, ...bundled].map(stanza)].join("\n\n")}\n`;
}

function stanza({ files, copyright, licence, text }: Licensed): string {
  return [
    `Files: ${files}`,
    `Copyright: ${copyright.join("\n ")}`,
    `License: ${licence}`,
    ...text.trim().split("\n").map(continued),
  ].join("\n");
}

/** A line of a field that goes on: an empty one is a full stop. */
function continued(line: string): string {
  return line.trim() === "" ? " ." : ` ${line.trimEnd()}`;
}

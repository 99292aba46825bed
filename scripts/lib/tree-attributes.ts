/** Extended attributes and access control lists of a tree as getfattr and getfacl (Debian's attr and acl) tell them. */
import { statSync } from "node:fs";
import path from "node:path";
import { run, Sentence } from "./run.ts";

/** By the path as both tools print it, relative to the tree: what they say, one line for each attribute, sorted. */
export type TreeAttributes = ReadonlyMap<string, string>;

const ENV = { LC_ALL: "C" };

/** Reads the tree, or single file, at `root`. Links are not followed. */
export async function readAttributes(root: string): Promise<TreeAttributes> {
  const isDirectory = statSync(root).isDirectory();
  const cwd = isDirectory ? root : path.dirname(root);
  const name = isDirectory ? "." : path.basename(root);
  const found = new Map<string, string[]>();
  gather(found, await tool(["getfattr", "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--", name], cwd));
  gather(found, await tool(["getfacl", "-R", "-P", "-n", "-p", "-s", "--", name], cwd));
  const own = isDirectory ? undefined : name;
  return new Map([...found].map(([file, lines]) => [file === own ? "." : file, lines.sort().join("\n")]));
}

async function tool(command: readonly string[], cwd: string): Promise<string> {
  const { exitCode, stdout, stderr } = await run(command, { cwd, env: ENV });
  if (exitCode !== 0) throw new Sentence(`${command.join(" ")} ended with ${exitCode}: ${stderr.slice(0, 1000)}`);
  return stdout;
}

/**
 * Blocks of lines behind `# file: NAME`, an empty line between them. An access control list is an attribute too; it is taken from
 * the tool that knows what it means.
 */
function gather(found: Map<string, string[]>, output: string): void {
  let lines: string[] = [];
  for (const line of output.split("\n")) {
    if (line.startsWith("# file: ")) {
      const file = line.slice("# file: ".length).replace(/^\.\/(?=.)/, "");
      lines = found.get(file) ?? [];
      found.set(file, lines);
    } else if (line !== "" && !line.startsWith("#") && !line.startsWith("system.posix_acl_")) {
      lines.push(line);
    }
  }
}

/**
 * Bugs that lose data, to be planted one at a time: the simulator must find each. A patch names the text that it replaces,
 * which must stand exactly once in its file, so that it cannot silently plant nothing after the code has changed.
 */
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

export interface PlantedBug {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: "chunks are acknowledged before they are synced",
    file: "src/store/durability.ts",
    find: "await this.#parts.placement.sync(records);",
    replace: "",
  },
  {
    name: "the journal names chunks before they are synced",
    file: "src/store/durability.ts",
    find: "await this.#parts.placement.sync(records);",
    replace: "await this.#parts.journal.append(encodeChunks(records)); await this.#parts.placement.sync(records);",
  },
  {
    name: "the filesystem is not synced for staged chunks",
    file: "src/store/staged-files.ts",
    find: "else await filesystem.sync();",
    replace: "",
  },
  {
    name: "a session is read on while its disk is behind",
    file: "src/server/session.ts",
    find: "this.#store?.congested === true) this.#connections.pause();",
    replace: "this.#store?.congested === true) return;",
  },
  {
    name: "a commit does not sync the directory of its archive",
    file: "src/store/commit.ts",
    find: "  await root.sync(directory);\n",
    replace: "",
  },
  {
    name: "what an earlier start of the server had received passes for received",
    file: "src/window/server-starts.ts",
    find: 'return "fresh";',
    replace: 'return "same";',
  },
  {
    name: "rotation removes one archive too many",
    file: "src/store/rotation.ts",
    find: "goodNewer >= Math.max(1, rule.maxBackups)",
    replace: "goodNewer + 1 >= Math.max(1, rule.maxBackups)",
  },
  {
    name: "a chunk is forgotten when the stream that carried it dies",
    file: "src/window/send-window.ts",
    find: 'if (chunk.state === "sent" && chunk.carriers.size === 0) {\n        this.#again.add(chunk);',
    replace: 'if (chunk.state === "sent" && chunk.carriers.size === 0) {\n        this.#markReceived(chunk);',
  },
  {
    name: "an archive is committed although its SHA-256 is not what the agent read",
    file: "src/store/finish.ts",
    find: "if (equal(here.sha256, said.sha256)) return;",
    replace: "if (here.sha256.length === said.sha256.length) return;",
  },
  {
    name: "another run of the agent may take a session over",
    file: "src/server/session-door.ts",
    find: "return session.agent === claim.agent && session.run === claim.run;",
    replace: "return session.agent === claim.agent;",
  },
  {
    name: "a start of the server gives the places of its sessions to whoever comes first",
    file: "src/server/absence.ts",
    find: "if (ofRestart) this.#reservedUntilMs =",
    replace: "if (ofRestart && this.#timer === undefined) this.#reservedUntilMs =",
  },
  {
    name: "a control channel is not opened again when the server was too busy for it once",
    file: "src/agent/control-link.ts",
    find: "const wasUp = this.#link !== undefined;",
    replace: 'const wasUp = this.#link !== undefined; if (failure.code === "E_BUSY") return;',
  },
  {
    name: "an agent that is gone counts as connected",
    file: "src/server/control-hub.ts",
    find: "this.#connected.delete(agent);",
    replace: "",
  },
  {
    name: "a run that the server was refused begins later all the same",
    file: "src/agent/scheduler.ts",
    find: 'if (activity !== "idle") return activity;',
    replace:
      'if (activity !== "idle") { this.#enqueue(name, { kind: "remote", dueMs: this.#options.clock.wall() }, this.#options.clock.wall()); return activity; }',
  },
];

const ROOT = path.dirname(path.dirname(import.meta.dir));
/** What the simulator runs on. */
const PARTS = ["src", "scripts", "test/support", "test/sim", "package.json", "tsconfig.json"];

/** A copy of the sources with a bug in it, or without one. */
export class PatchedCopy {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(bug: PlantedBug | undefined): Promise<PatchedCopy> {
    const copy = new PatchedCopy(await mkdtemp(path.join(tmpdir(), "nbackup-planted-")));
    for (const part of PARTS) {
      const target = path.join(copy.directory, part);
      await mkdir(path.dirname(target), { recursive: true });
      await cp(path.join(ROOT, part), target, { recursive: true });
    }
    await symlink(path.join(ROOT, "node_modules"), path.join(copy.directory, "node_modules"));
    if (bug !== undefined) await copy.#plant(bug);
    return copy;
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  async #plant({ file, find, replace }: PlantedBug): Promise<void> {
    const target = path.join(this.directory, file);
    const text = await Bun.file(target).text();
    const [before, after, ...more] = text.split(find);
    if (before === undefined || after === undefined || more.length > 0)
      throw new Error(`${file} has ${JSON.stringify(find)} not exactly once: the planted bug must follow the code`);
    await Bun.write(target, `${before}${replace}${after}`);
  }
}

/**
 * The trees that the benchmark backs up, made once into bench-data/corpora: the same on every run on one machine. They
 * are made of files that are there anyway, because text and executables that a generator invents compress unlike any
 * real ones.
 */
import { link, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import { inProject } from "#scripts/lib/project.ts";
import { BUN, mustRun, Sentence } from "#scripts/lib/run.ts";
import { type Chance, seededChance } from "./chance.ts";

export type CorpusName = "source" | "big" | "half" | "small" | "million";

export const CORPUS_NAMES: readonly CorpusName[] = ["source", "big", "small"];

export interface Corpus {
  readonly name: CorpusName;
  readonly directory: string;
  /** What it is made of, for the report. */
  readonly description: string;
  readonly files: number;
  readonly directories: number;
  /** Contents of regular files. */
  readonly bytes: number;
}

const CORPORA = inProject("bench-data", "corpora");
/** Raised when the making changes, so that an older corpus is made anew. */
const RECIPE = 3;
const MiB = 2 ** 20;
const SOURCE_BYTES = 350 * MiB;
const SOURCE_FILE_BYTES_MAX = 16 * MiB;
const BIG_FILES = 8;
const BIG_FILE_BYTES = 128 * MiB;
const SMALL_FILES = 50_000;
const SMALL_FILES_PER_DIRECTORY = 100;
const SMALL_FILE_BYTES_MAX = 32 * 1024;
const MILLION = 1_000_000;
const FIXED_TIME_S = 1_700_000_000;

/** Where source code lies on a Debian; taken in this order until there is enough. */
const SOURCE_PLACES = [
  inProject("node_modules"),
  "/usr/include",
  "/usr/lib/python3",
  "/usr/lib/python3.11",
  "/usr/share/perl",
  "/usr/share/vim",
  "/usr/lib/node_modules",
  "/usr/share/cmake-3.25",
  "/usr/share/i18n",
];

interface Found {
  readonly path: string;
  readonly kind: "file" | "directory" | "other";
}

/** Everything below, in order. Node's `recursive` is no use here: Bun's follows links to directories. */
async function* walk(directory: string): AsyncGenerator<Found> {
  const entries = await readdir(directory, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = path.join(directory, entry.name);
    yield { path: file, kind: entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other" };
    if (entry.isDirectory()) yield* walk(file);
  }
}

async function filesBelow(directory: string): Promise<readonly string[]> {
  const files: string[] = [];
  for await (const found of walk(directory)) if (found.kind === "file") files.push(found.path);
  return files;
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined)) !== undefined;
}

/** The source tree: real directories, copied with their times and links, without single huge files. */
async function makeSource(directory: string): Promise<string> {
  const taken: string[] = [];
  let bytes = 0;
  for (const place of SOURCE_PLACES) {
    if (bytes >= SOURCE_BYTES) break;
    if (!(await exists(place))) continue;
    const copy = path.join(directory, place === inProject("node_modules") ? "node_modules" : place);
    mkdirSync(path.dirname(copy), { recursive: true });
    await mustRun(["cp", "-a", place, copy]);
    for (const file of await filesBelow(copy)) {
      const { size } = await stat(file);
      if (size > SOURCE_FILE_BYTES_MAX) await rm(file);
      else bytes += size;
    }
    taken.push(place === inProject("node_modules") ? "this project's node_modules" : place);
  }
  if (bytes < SOURCE_BYTES / 4)
    throw new Sentence("There is not enough source code on this machine for the benchmark.");
  return `${taken.join(", ")}, without files over ${SOURCE_FILE_BYTES_MAX / MiB} MB`;
}

/** Endless bytes out of real files. Each time round they are changed one to one, so that nothing is found again. */
class Pool {
  readonly #files: readonly string[];
  readonly #change: (bytes: Uint8Array, round: number) => Uint8Array;
  #next = 0;
  #round = 0;

  constructor(files: readonly string[], change: (bytes: Uint8Array, round: number) => Uint8Array) {
    this.#files = files;
    this.#change = change;
  }

  async take(): Promise<Uint8Array> {
    const file = this.#files[this.#next % this.#files.length];
    if (file === undefined) throw new Sentence("The benchmark finds no files to make its corpora of.");
    this.#round = Math.floor(this.#next / this.#files.length);
    this.#next += 1;
    return this.#change(await readFile(file), this.#round);
  }
}

/** Text stays text: letters move on by `round` places. */
function rotateLetters(bytes: Uint8Array, round: number): Uint8Array {
  return bytes.map((byte) => {
    if (byte >= 97 && byte <= 122) return 97 + ((byte - 97 + round) % 26);
    return byte >= 65 && byte <= 90 ? 65 + ((byte - 65 + round) % 26) : byte;
  });
}

function xorWith(bytes: Uint8Array, round: number): Uint8Array {
  return round === 0 ? bytes : bytes.map((byte) => byte ^ round);
}

function shuffled<T>(items: readonly T[], chance: Chance): readonly T[] {
  const result = [...items];
  for (let index = result.length - 1; index > 0; index -= 1) {
    const other = chance.below(index + 1);
    const [a, b] = [must(result[index], "item"), must(result[other], "item")];
    result[index] = b;
    result[other] = a;
  }
  return result;
}

/** The text files of the source corpus in a seeded order. */
async function textPool(): Promise<Pool> {
  const files: string[] = [];
  for (const file of await filesBelow((await ensureCorpus("source")).directory)) {
    if (/\.(ts|js|mjs|cjs|json|md|h|hpp|c|py|pl|pm|vim|txt|cmake|html|css)$/.test(file)) files.push(file);
  }
  return new Pool(shuffled(files, seededChance(1)), rotateLetters);
}

/** Executables: the pinned Bun, then libraries of the machine, largest first. */
async function binaryPool(): Promise<Pool> {
  const libraries = process.arch === "x64" ? "/usr/lib/x86_64-linux-gnu" : "/usr/lib/aarch64-linux-gnu";
  const sized: { file: string; size: number }[] = [];
  for (const file of await filesBelow(libraries)) {
    const { size } = await stat(file);
    if (/\.so[.\d]*$/.test(file) && size > MiB) sized.push({ file, size });
  }
  sized.sort((a, b) => b.size - a.size || (a.file < b.file ? -1 : 1));
  return new Pool([BUN, ...sized.map(({ file }) => file)], xorWith);
}

async function fill(file: string, bytes: number, pool: Pool): Promise<void> {
  const fd = openSync(file, "w");
  try {
    for (let left = bytes; left > 0;) {
      const piece = (await pool.take()).subarray(0, left);
      writeSync(fd, piece);
      left -= piece.length;
    }
  } finally {
    closeSync(fd);
  }
  await utimes(file, FIXED_TIME_S, FIXED_TIME_S);
}

async function makeBig(directory: string): Promise<string> {
  const [text, binary] = [await textPool(), await binaryPool()];
  for (let index = 0; index < BIG_FILES; index += 1) {
    const isText = index % 2 === 0;
    const name = `${isText ? "text" : "binary"}-${index}.${isText ? "txt" : "bin"}`;
    await fill(path.join(directory, name), BIG_FILE_BYTES, isText ? text : binary);
  }
  return `${BIG_FILES} files of ${BIG_FILE_BYTES / MiB} MB, half of them text of the source tree, half executables and libraries`;
}

/** The first half of `big`, by links: what takes a second or two. */
async function makeHalf(directory: string): Promise<string> {
  const big = await ensureCorpus("big");
  const files = (await filesBelow(big.directory)).slice(0, BIG_FILES / 2);
  for (const file of files) await link(file, path.join(directory, path.basename(file)));
  return `${files.length} of those files`;
}

/** Mostly one to six kilobytes, some empty, some to 32 KiB: four on average. */
function smallSize(chance: Chance): number {
  const gauss = chance.unit() + chance.unit() + chance.unit() - 1.5;
  const size = Math.floor(2900 * Math.exp(1.7 * gauss));
  return size < 300 ? 0 : Math.min(SMALL_FILE_BYTES_MAX, size);
}

async function makeSmall(directory: string): Promise<string> {
  const [chance, pool] = [seededChance(2), await textPool()];
  let piece = new Uint8Array(0);
  for (let index = 0; index < SMALL_FILES; index += 1) {
    const folder = path.join(directory, `d${String(Math.floor(index / SMALL_FILES_PER_DIRECTORY)).padStart(4, "0")}`);
    if (index % SMALL_FILES_PER_DIRECTORY === 0) mkdirSync(folder);
    const size = smallSize(chance);
    while (piece.length < size) piece = Buffer.concat([piece, await pool.take()]);
    writeFileSync(path.join(folder, `file-${String(index).padStart(5, "0")}.txt`), piece.subarray(0, size));
    piece = piece.subarray(size);
  }
  return `${SMALL_FILES} text files of 0 to ${SMALL_FILE_BYTES_MAX / 1024} KiB, ${SMALL_FILES_PER_DIRECTORY} to a directory`;
}

/** Not measured for speed: shows that memory does not grow with a huge directory. */
function makeMillion(directory: string): Promise<string> {
  for (let index = 0; index < MILLION; index += 1) closeSync(openSync(path.join(directory, `f${index}`), "w"));
  return Promise.resolve(`${MILLION} empty files in one directory`);
}

const MAKERS: Record<CorpusName, (directory: string) => Promise<string>> = {
  source: makeSource,
  big: makeBig,
  half: makeHalf,
  small: makeSmall,
  million: makeMillion,
};

/** Counts what is there, and so has read every inode once. */
async function describe(name: CorpusName, directory: string, description: string): Promise<Corpus> {
  let [files, directories, bytes] = [0, 1, 0];
  for await (const found of walk(directory)) {
    if (found.kind === "directory") directories += 1;
    if (found.kind !== "file") continue;
    files += 1;
    if (name !== "million") bytes += (await stat(found.path)).size;
  }
  return { name, directory, description, files, directories, bytes };
}

/** The corpus, made when it is not there yet. Half of one is never left: the description is written last. */
export async function ensureCorpus(name: CorpusName): Promise<Corpus> {
  const directory = path.join(CORPORA, name);
  const card = path.join(CORPORA, `${name}-${RECIPE}.json`);
  if (await exists(card)) return await Bun.file(card).json();
  console.error(`Making the corpus "${name}" …`);
  await rm(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const corpus = await describe(name, directory, await MAKERS[name](directory));
  await Bun.write(card, JSON.stringify(corpus, undefined, 2));
  return corpus;
}

/** Reads every file once, so that all contenders find the same warm cache. */
export async function warm(corpus: Corpus): Promise<void> {
  await mustRun(["tar", "-cf", "/dev/zero", "-C", "/", corpus.directory.slice(1)]);
}

/**
 * The page's own files. In an executable they were bundled when it was built and lie in it; run from its sources they are bundled
 * when the page is first asked for. Every view of the page has a URL, so these are answered with the page too.
 */
import page from "#ui/index.html";
import plot from "#ui/plot.html";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { PageFile } from "#web/web-app.ts";

/** First parts of the page's own URLs, as src/ui/routes.ts has them; anything else is no page. */
const VIEW = /^\/(?:(?:sessions|archives|agents|storages|events|config)(?:\/.*)?)?$/;

interface Bundled {
  /** `/chunk-jzdbw4py.js` */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array;
}

export type PageFiles = (path: string) => PageFile | undefined;

/** Reads and compresses all of it, once: some milliseconds at the start, instead of at somebody's first request. */
export async function loadPage(): Promise<PageFiles> {
  const own = await filesOf(page);
  const drawing = one((await filesOf(plot)).filter(isScript), "script that draws charts");
  const shown = wholePage(one(own.filter(isHtml), "page"), one(own.filter(isStyle), "style sheet"), drawing.path);
  const apart = [...own.filter((file) => !isHtml(file) && !isStyle(file)), drawing];
  const files = new Map(apart.map((file) => [file.path, packed(file)]));
  return (path) => files.get(path) ?? (VIEW.test(path) ? shown : undefined);
}

const isHtml = ({ contentType }: Bundled): boolean => contentType.startsWith("text/html");
const isStyle = ({ contentType }: Bundled): boolean => contentType.startsWith("text/css");
const isScript = ({ contentType }: Bundled): boolean => contentType.startsWith("text/javascript");

/** With its style sheet in it, so that a browser asks for one file less before it draws anything, and the name of the script that comes later. */
function wholePage({ contentType, body }: Bundled, sheet: Bundled, drawing: string): PageFile {
  const decoder = new TextDecoder();
  const style = decoder.decode(sheet.body);
  if (style.includes("</")) throw new Error("the page's style sheet would end its element");
  const named = replaced(decoder.decode(body), /(?<=<meta name="drawing" content=")(?=")/g, drawing);
  const styled = replaced(named, /<link rel="stylesheet"[^>]*>/g, `<style>${style}</style>`);
  return { contentType, html: styled, styleSha256: createHash("sha256").update(style).digest("base64") };
}

/** Throws when the page has not just one place for it. */
function replaced(html: string, place: RegExp, by: string): string {
  one([...html.matchAll(place)], `place for ${String(place)}`);
  return html.replace(place, () => by);
}

function one<T>(found: readonly T[], what: string): T {
  const [first, ...more] = found;
  if (first !== undefined && more.length === 0) return first;
  throw new Error(`the page was bundled otherwise than is known: ${found.length} of one ${what}`);
}

function packed({ body, contentType }: Bundled): PageFile {
  const gzip = gzipSync(body, { level: 9 });
  return { body, contentType, gzip: gzip.length < body.length ? gzip : undefined };
}

async function filesOf({ files, index }: Bun.HTMLBundle): Promise<readonly Bundled[]> {
  return files === undefined ? await bundle(index) : await embedded(files);
}

async function embedded(files: NonNullable<Bun.HTMLBundle["files"]>): Promise<readonly Bundled[]> {
  return await Promise.all(
    files.map(async ({ path, headers }) => ({
      path: path.slice(path.lastIndexOf("/")),
      contentType: headers["content-type"],
      body: await Bun.file(path).bytes(),
    })),
  );
}

async function bundle(index: string): Promise<readonly Bundled[]> {
  const { outputs } = await Bun.build({ entrypoints: [index], target: "browser", publicPath: "/", minify: true });
  return await Promise.all(
    outputs.map(async (output) => ({
      path: output.path.replace(/^\.?\/?/, "/"),
      contentType: output.type,
      body: new Uint8Array(await output.arrayBuffer()),
    })),
  );
}

/**
 * The page's own files. In an executable they were bundled when it was built and lie in it; run from its sources they are bundled
 * when the page is first asked for. Every view of the page has a URL, so these are answered with the page too.
 */
import page from "#ui/index.html";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { PageFile } from "#web/web-app.ts";

/** First parts of the page's own URLs, as src/ui/routes.ts has them; anything else is no page. */
const VIEW = /^\/(?:(?:sessions|archives|agents|storages|events|config)(?:\/.*)?)?$/;

interface Bundled {
  /** `/chunk-jzdbw4py.js`; the page itself is `/`. */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array;
}

export type PageFiles = (path: string) => PageFile | undefined;

/** Reads and compresses all of it, once: some milliseconds at the start, instead of at somebody's first request. */
export async function loadPage(): Promise<PageFiles> {
  const bundled = page.files === undefined ? await bundle(page.index) : await embedded(page.files);
  const files = new Map<string, PageFile>();
  for (const file of bundled) {
    if (file.path === "/") files.set("/", withStyle(file, bundled));
    else if (!isStyle(file)) files.set(file.path, pageFile(file));
  }
  return (path) => files.get(path) ?? (VIEW.test(path) ? files.get("/") : undefined);
}

function isStyle({ contentType }: Bundled): boolean {
  return contentType.startsWith("text/css");
}

/** The page with its style sheet in it: a browser asks for one file less before it draws anything. Throws when it has not just one. */
function withStyle({ body, contentType }: Bundled, files: readonly Bundled[]): PageFile {
  const decoder = new TextDecoder();
  const [sheet, ...more] = files.filter(isStyle);
  const parts = decoder.decode(body).split(/<link rel="stylesheet"[^>]*>/);
  if (sheet === undefined || more.length > 0 || parts.length !== 2)
    throw new Error(`the page has ${files.filter(isStyle).length} style sheets, and ${parts.length - 1} links to them`);
  const style = decoder.decode(sheet.body);
  if (style.includes("</")) throw new Error("the style sheet would end its element");
  const styleSha256 = createHash("sha256").update(style).digest("base64");
  return { contentType, html: parts.join(`<style>${style}</style>`), styleSha256 };
}

function pageFile({ body, contentType }: Bundled): PageFile {
  const gzip = gzipSync(body, { level: 9 });
  return { body, contentType, gzip: gzip.length < body.length ? gzip : undefined };
}

async function embedded(files: NonNullable<typeof page.files>): Promise<readonly Bundled[]> {
  return await Promise.all(
    files.map(async ({ path, loader, headers }) => ({
      path: loader === "html" ? "/" : path.slice(path.lastIndexOf("/")),
      contentType: headers["content-type"],
      body: await Bun.file(path).bytes(),
    })),
  );
}

async function bundle(index: string): Promise<readonly Bundled[]> {
  const { outputs } = await Bun.build({
    entrypoints: [index],
    target: "browser",
    publicPath: "/",
    minify: true,
    splitting: true,
  });
  return await Promise.all(
    outputs.map(async (output) => ({
      path: output.type.startsWith("text/html") ? "/" : output.path.replace(/^\.?\/?/, "/"),
      contentType: output.type,
      body: new Uint8Array(await output.arrayBuffer()),
    })),
  );
}

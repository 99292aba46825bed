/** What the page has in it when it comes: the answers of its first view, for who may have them, and nothing that is HTML. */
import { describe, expect, test } from "bun:test";
import { endRecord, liveView, PageKit, PASSWORD } from "#test/support/page-kit.ts";
import type { FirstView, OverviewAnswer } from "#web/api-types.ts";
import { withFirstView } from "#web/first-view.ts";
import type { PageFile } from "#web/web-app.ts";

const HTML = '<body><template id="first"></template><div id="app"></div>';
const SCRIPT = { contentType: "text/javascript", body: new Uint8Array([1]), gzip: undefined };
const PAGE = { contentType: "text/html", html: HTML, styleSha256: "Zm9v" };
const page = (path: string): PageFile => (path.endsWith(".js") ? SCRIPT : PAGE);

async function firstOf(kit: PageKit, path: string, headers: Record<string, string> = {}): Promise<FirstView> {
  const { status, body } = await kit.ask(path, { headers });
  const [, text] = /^<body><template id="first">(.*)<\/template><div id="app"><\/div>$/s.exec(String(body)) ?? [];
  if (status !== 200 || text === undefined) throw new Error(`${path}: ${status} ${String(body)}`);
  return JSON.parse(text) as FirstView;
}

describe("the page's first view", () => {
  test("is what the routes answer, and only the overview's has one", async () => {
    const kit = new PageKit({ page });
    kit.history.add(endRecord());
    const first = await firstOf(kit, "/");
    expect(first.access).toEqual(await kit.json("/api/v1/access"));
    expect(first.overview).toEqual(await kit.json<OverviewAnswer>("/api/v1/overview"));
    expect(first.overview?.backups.length).toBe(1);
    expect((await firstOf(kit, "/sessions")).overview).toBeNull();
  });

  test("has nothing in it that is HTML, and what it is made from comes back", async () => {
    const kit = new PageKit({ page });
    const agent = "</template><script>&amp;\u2028</script>";
    kit.history.add(endRecord({ agent }));
    const { body } = await kit.ask("/");
    const marks = (text: string): readonly string[] => text.match(/[<>&]/g) ?? [];
    expect(marks(String(body))).toEqual(marks(HTML));
    expect((await firstOf(kit, "/")).overview?.backups[0]?.agent).toBe(agent);
  });

  test("tells who has not given the password only that there is one, and no browser keeps it", async () => {
    const kit = new PageKit({ page, password: true });
    kit.history.add(endRecord());
    expect(await firstOf(kit, "/")).toMatchObject({
      access: { passwordNeeded: true, loggedIn: false },
      overview: null,
    });
    const cookie = (await kit.login(PASSWORD)).headers["set-cookie"]?.split(";")[0] ?? "";
    expect(await firstOf(kit, "/", { cookie })).toMatchObject({ access: { loggedIn: true }, overview: { boot: "b" } });
    expect((await firstOf(kit, "/")).revision).toBe(-1);
    expect((await kit.ask("/", { headers: { cookie } })).headers["cache-control"]).toBe("no-store");
    expect((await kit.ask("/x.js")).headers["cache-control"]).toContain("immutable");
  });

  test("may have its own style sheet, and no other style", async () => {
    const { headers } = await new PageKit({ page }).ask("/sessions");
    expect(headers["content-security-policy"]).toContain(
      "default-src 'none'; script-src 'self'; style-src 'sha256-Zm9v'; ",
    );
  });

  test("has what was chosen before, and no other text of a cookie", async () => {
    const kit = new PageKit({ page });
    const chosen = async (cookie: string): Promise<unknown> => (await firstOf(kit, "/", { cookie })).chosen;
    expect(await chosen("a=b; nbackup_language=pt;nbackup_theme=dark")).toEqual({ language: "pt", theme: "dark" });
    expect(await chosen("nbackup_language=<script>; xnbackup_theme=dark")).toEqual({ language: null, theme: null });
  });

  test("has the revision that the stream begins with, unless something happened in between", async () => {
    const kit = new PageKit({ page });
    kit.live = [liveView(1)];
    const first = await firstOf(kit, "/");
    const revisionOfHello = async (): Promise<unknown> => {
      const { body } = await kit.ask("/api/v1/stream");
      if (!(body instanceof ReadableStream)) throw new Error("no stream");
      const reader = body.getReader();
      for (let text = ""; ;) {
        const { value } = await reader.read();
        text += new TextDecoder().decode(value);
        const [, data] = /event: hello\ndata: (.*)\n\n/.exec(text) ?? [];
        if (data !== undefined) return (JSON.parse(data) as { revision: unknown }).revision;
      }
    };
    expect(await revisionOfHello()).toBe(first.revision);
    kit.app.stream.changed("archives");
    expect(await revisionOfHello()).not.toBe(first.revision);
    expect((await firstOf(kit, "/")).revision).toBe((await revisionOfHello()) as number);
  });

  test("a page without a place for it is a mistake of the build", () => {
    const first = { boot: "", revision: 0, nowWallMs: 0 } as FirstView;
    expect(() => withFirstView("<body></body>", first)).toThrow("no place");
  });
});

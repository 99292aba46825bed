/** Who comes to the compiled server's page with Chromium: refused addresses and other sites, the password, guesses, downloads byte by byte. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import net from "node:net";
import { axe } from "#test/support/axe.ts";
import { type OpenedPage, WIDE } from "#test/support/chromium.ts";
import { HOSTILE_FILE, PageSite, PASSWORD, settled } from "#test/support/page-site.ts";
import { STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

const LOOPBACK = "127.0.0.1";
/** Of the same machine, and not allowed. */
const OTHER_ADDRESS = "127.0.0.2";

let site: PageSite;
let opened: OpenedPage | undefined;
const closers: (() => void)[] = [];

beforeAll(async () => {
  site = await PageSite.make();
  await site.start({ webUi: { ...(await site.password()), allow_download: true } });
  await site.backUp(site.entry("all"));
}, TIMEOUT_MS);

afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await opened?.close();
  opened = undefined;
});

afterAll(async () => {
  await site.remove();
});

/** A port that leads to the page, from that address. */
async function relayFrom(localAddress: string): Promise<number> {
  const relay = net.createServer((near) => {
    const far = net.connect({ host: LOOPBACK, port: site.pagePort, localAddress });
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.pipe(far).pipe(near);
    closers.push(() => far.destroy());
  });
  const listening = Promise.withResolvers<void>();
  relay.listen(0, LOOPBACK, listening.resolve);
  await listening.promise;
  closers.push(() => relay.close());
  return (relay.address() as net.AddressInfo).port;
}

async function logIn({ page }: OpenedPage, password = PASSWORD): Promise<void> {
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

describe("an address that allow_origins does not name", () => {
  test("gets nothing of the page, whatever X-Forwarded-For it sends, and is an event; another one still gets in", async () => {
    const port = await relayFrom(OTHER_ADDRESS);
    opened = await site.browser.open({ extraHTTPHeaders: { "x-forwarded-for": LOOPBACK } });
    const answer = await opened.page.goto(`http://${LOOPBACK}:${port}/sessions`);
    expect(answer?.status()).toBe(403);
    expect(await opened.page.title()).toBe("This address may not look · nbackup");
    await opened.page.getByRole("heading", { name: "Este endereço não tem acesso" }).waitFor();
    expect(await opened.page.locator("script, link, style").count()).toBe(0);
    expect(await axe(opened.page)).toEqual([]);
    expect(opened.complaints).toEqual([]);
    await site.server.printed(new RegExp(`"event":"page.refused","address":"${OTHER_ADDRESS}"`));
    const allowed = await relayFrom(LOOPBACK);
    await opened.page.goto(`http://${LOOPBACK}:${allowed}/events?kind=page.`);
    await logIn(opened);
    await settled(opened);
    await opened.page.locator(".tbody .tr", { hasText: `${OTHER_ADDRESS} may not look at the page` }).waitFor();
  });
});

describe("a page of another site", () => {
  test("cannot ask the API by a browser that is logged in, nor show the page in a frame", async () => {
    opened = await site.browser.open();
    const { page } = opened;
    await page.goto(site.url);
    await logIn(opened);
    await settled(opened);
    const other = Bun.serve({
      ...{ hostname: LOOPBACK, port: 0 },
      fetch: () =>
        new Response(`<title>other</title><iframe src="${site.url}/"></iframe>`, {
          headers: { "content-type": "text/html" },
        }),
    });
    closers.push(() => void other.stop(true));
    await page.goto(`http://localhost:${other.port}/`);
    const asked = await page.evaluate(
      `fetch("${site.url}/api/v1/overview", { credentials: "include" }).then(() => "answered", () => "refused")`,
    );
    expect(asked).toBe("refused");
    expect(opened.complaints.join("\n")).toMatch(/frame-ancestors|X-Frame-Options/);
    await page.evaluate(
      `document.body.innerHTML = '<form method="post" action="${site.url}/api/v1/logout"><button>go</button></form>'`,
    );
    await page.getByRole("button", { name: "go" }).click();
    await page.getByText("pages of other sites may not ask").waitFor();
    await page.goto(site.url);
    await settled(opened);
  });
});

describe("the password", () => {
  test("is asked for at every address of the page, then leads there; a reload keeps it, logging out ends it", async () => {
    opened = await site.browser.open(WIDE);
    const { page } = opened;
    await page.goto(`${site.url}/events?level=info`);
    await page.getByLabel("Password").waitFor();
    expect(await page.locator("nav").count()).toBe(0);
    await logIn(opened);
    await settled(opened);
    expect(new URL(page.url()).search).toBe("?level=info");
    await page.reload();
    await settled(opened);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("Password").waitFor();
    await page.reload();
    await page.getByLabel("Password").waitFor();
    expect(await page.locator(".tbody").count()).toBe(0);
    expect(opened.complaints).toEqual([]);
  });
});

describe("an archive", () => {
  test("is browsed, searched, and gives one file, byte by byte as it was; the download is an event", async () => {
    opened = await site.browser.open(WIDE);
    const { page } = opened;
    await page.goto(`${site.url}/archives/${STORAGE}/web-1/all`);
    await logIn(opened);
    await settled(opened);
    await page.locator(".tbody .tr a").first().click();
    for (const name of site.site.at("source").split("/").slice(1)) {
      await page.getByRole("link", { name, exact: true }).click();
    }
    const taken = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download file", exact: true }).click();
    const download = await taken;
    expect(download.suggestedFilename()).toBe("file");
    const bytes = readFileSync(await download.path());
    expect(bytes.equals(readFileSync(site.site.at("source/file")))).toBe(true);
    const hostile = page.waitForEvent("download");
    await page.getByRole("link", { name: `Download ${HOSTILE_FILE}`, exact: true }).click();
    expect(readFileSync(await (await hostile).path(), "utf8")).toBe("its content");
    await page.getByRole("link", { name: "Find a file" }).click();
    await page.getByLabel("Name or pattern").fill("**/nginx.conf");
    await page.getByLabel("Name or pattern").press("Enter");
    await page.getByRole("heading", { name: "1 file" }).waitFor();
    await page.goto(`${site.url}/events?kind=archive.downloaded`);
    await settled(opened);
    const rows = page.locator(".tbody .tr");
    expect(await rows.count()).toBe(2);
    expect(await rows.nth(0).textContent()).toContain(HOSTILE_FILE);
    expect(await rows.nth(1).textContent()).toContain(LOOPBACK);
    expect([...opened.complaints, ...opened.errors.filter((error) => !error.startsWith("401 "))]).toEqual([]);
    expect(await page.title()).toBe("Events · nbackup");
  });
});

describe("guesses", () => {
  test("are slowed down after five, so that then not even the password helps, and are events", async () => {
    opened = await site.browser.open(WIDE);
    const { page } = opened;
    await page.goto(site.url);
    for (let guess = 0; guess < 5; guess += 1) {
      await logIn(opened, `guess ${guess}`);
      await page.getByRole("button", { name: "Log in", disabled: false }).waitFor();
      await page.getByText("That is not the password.").waitFor();
    }
    await logIn(opened, "guess 5");
    await page.getByText(/That is not the password|Too many attempts/).waitFor();
    await logIn(opened);
    await page.getByText("Too many attempts. Wait a little.").waitFor();
    await site.server.event("page.wrong-password");
    expect(opened.complaints).toEqual([]);
  });
});

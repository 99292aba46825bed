/**
 * The pictures of README and docs: `bun scripts/screenshots.ts [--output docs/images]`. A compiled server with a dozen agents that back up
 * directories of this project, several times over, one of them failing and one running, and Debian's Chromium in front of it. What is on
 * the pictures happened.
 */
import { appendFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import path from "node:path";
import { parseArgs } from "node:util";
import type { Page } from "playwright-core";
import { MiB } from "#base/units.ts";
import { type OpenedPage, WIDE } from "#test/support/chromium.ts";
import { PageSite, PASSWORD, settled } from "#test/support/page-site.ts";
import { ensurePackages, TEST_PACKAGES } from "./lib/debian.ts";
import { inProject } from "./lib/project.ts";
import { runMain } from "./lib/run.ts";

interface Machine {
  readonly name: string;
  /** A directory of this project, and what its backup is called. */
  readonly directory: string;
  readonly backup: string;
  readonly storage: string;
  readonly schedule: string;
}

const machine = (name: string, directory: string, backup: string, storage: string, schedule: string): Machine => ({
  ...{ name, directory, backup, storage, schedule },
});

const MACHINES: readonly Machine[] = [
  machine("build-01", "scripts", "home", "archive", "15 4 * * 0"),
  machine("db-01", "src/store", "postgres", "main", "0 */6 * * *"),
  machine("db-02", "src/server", "postgres", "main", "0 */6 * * *"),
  machine("files-01", "test/unit", "shares", "archive", "30 22 * * *"),
  machine("git-01", "src", "repositories", "main", "0 * * * *"),
  machine("mail-01", "src/archive", "mailboxes", "main", "30 1 * * *"),
  machine("proxy-01", "src/config", "etc", "main", "0 3 * * *"),
  machine("web-01", "docs", "www", "main", "0 2 * * *"),
  machine("web-02", "src/agent", "www", "main", "0 2 * * *"),
  machine("web-03", "src/ui", "www", "main", "0 2 * * *"),
];
/** Of each, with something more each time. */
const RUNS = 6;
const BIG = { agent: "files-02", bytes: 500 * MiB, bandwidth: "9mb", streams: 5 };
/** As much as a chart needs to have a shape, and as a session needs to be in its middle. */
const WATCHED_MS = 22_000;
const HEIGHT = 900;
const VIEWPORT = { width: 1280, height: HEIGHT };

class Gallery {
  readonly #site: PageSite;
  readonly #output: string;

  constructor(site: PageSite, output: string) {
    this.#site = site;
    this.#output = output;
  }

  #sourceOf(name: string): string {
    return this.#site.site.at("machines", name);
  }

  #entryOf({ name, backup, storage, schedule }: Machine): Record<string, unknown> {
    return { name: backup, storage, schedule, sources: [{ path: this.#sourceOf(name) }] };
  }

  async #past(): Promise<void> {
    for (const one of MACHINES) cpSync(inProject(one.directory), this.#sourceOf(one.name), { recursive: true });
    for (let run = 0; run < RUNS; run += 1) {
      for (const [i, one] of MACHINES.entries()) {
        const grown = randomBytes(4_000 * (1 + ((i * 7 + run * 3) % 11)));
        appendFileSync(path.join(this.#sourceOf(one.name), "journal"), grown);
        await this.#site.backUp(this.#entryOf(one), { name: one.name });
      }
    }
    const refused = { ...this.#site.entry("postgres"), storage: "vault" };
    await this.#site.backUp(refused, { name: "db-02" });
  }

  /** Daemons, so that agents are connected and say when they run next. */
  async #present(): Promise<void> {
    const { site, server } = this.#site;
    for (const one of MACHINES.filter(({ name }) => name !== "build-01")) {
      const config = await site.agentConfig({
        ...{ port: server.port, name: one.name, stateDir: site.at(`state-${one.name}`) },
        backups: [this.#entryOf(one)],
      });
      await site.startAgent(config, []).printed(/the control channel is up/);
    }
    mkdirSync(this.#sourceOf(BIG.agent), { recursive: true });
    writeFileSync(path.join(this.#sourceOf(BIG.agent), "disk.img"), randomBytes(BIG.bytes));
    const images = { name: "images", storage: "archive", sources: [{ path: this.#sourceOf(BIG.agent) }] };
    // Once in full: then it is known how much there will be.
    await this.#site.backUp(images, { name: BIG.agent });
    await this.#site.begin({ ...images, parallels: BIG.streams, bandwidth_limit: BIG.bandwidth }, BIG.agent);
  }

  async #take(opened: OpenedPage, name: string, url: string, ready: (page: Page) => Promise<void>): Promise<void> {
    const { page } = opened;
    await page.goto(`${this.#site.url}${url}`);
    await settled(opened);
    await ready(page);
    await page.screenshot({ path: path.join(this.#output, `${name}.png`), animations: "disabled", caret: "hide" });
    console.log(`${name}.png`);
  }

  async show(): Promise<void> {
    await this.#past();
    await this.#present();
    const opened = await this.#site.browser.open({ ...WIDE, viewport: VIEWPORT });
    const { page } = opened;
    await page.goto(this.#site.url);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByLabel("Password").press("Enter");
    await settled(opened);
    await page.goto(`${this.#site.url}/sessions`);
    const running = await page.getByRole("article").getByRole("link").getAttribute("href");
    await page.waitForTimeout(WATCHED_MS);
    await this.#take(opened, "overview", "/", async (at) => {
      await at.locator(".side canvas").first().waitFor();
    });
    await this.#take(opened, "session", running ?? "", async (at) => {
      await at.locator("canvas").nth(1).waitFor();
    });
    await this.#take(opened, "archive", "/archives/main/web-03/www", async (at) => {
      await at.locator(".tbody a").first().click();
      const source = this.#sourceOf("web-03").split("/").slice(1);
      for (const name of source) await at.locator(".tbody").getByRole("link", { name, exact: true }).click();
      await at
        .getByRole("link", { name: /^Download/ })
        .first()
        .waitFor();
    });
    await page.emulateMedia({ colorScheme: "dark" });
    await this.#take(opened, "agents", "/agents", async (at) => {
      await at.locator("html[data-theme=dark]").waitFor();
    });
    await opened.close();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { output: { type: "string" } } });
  const output = path.resolve(values.output ?? inProject("docs/images"));
  await ensurePackages(TEST_PACKAGES.filter(({ name }) => name === "chromium"));
  const site = await PageSite.make([...MACHINES.map(({ name }) => name), BIG.agent, "web-1"]);
  try {
    await site.start({
      storages: { main: { max_backups: 14 }, archive: { max_backups: 30 }, vault: { allow_agents: ["mail-*"] } },
      webUi: { ...(await site.password()), allow_download: true },
    });
    await new Gallery(site, output).show();
    return 0;
  } finally {
    await site.remove();
  }
}

await runMain(main);

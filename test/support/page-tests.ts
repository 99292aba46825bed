/** What a file of tests of the page begins with: a browser and a server of made-up answers for all of its tests, and pages that close after theirs. */
import { afterAll, afterEach, beforeAll, setDefaultTimeout } from "bun:test";
import type { BrowserContextOptions } from "playwright-core";
import { Chromium, type OpenedPage } from "#test/support/chromium.ts";
import { FULL, PageServer, type PageWorld } from "#test/support/page-server.ts";

/** A browser that shares two processors with others takes its time. */
const TIMEOUT_MS = 60_000;

/** There when the live stream is. */
export const LIVE = ".connection.live";

interface Opening extends BrowserContextOptions {
  /** What the server has; FULL unless told. */
  readonly world?: PageWorld;
}

export class PageTests {
  /** For pages that outlive a test. */
  readonly browser = new Chromium();
  #server: PageServer | undefined;
  readonly #opened: OpenedPage[] = [];

  /** Before the first test of a file, at its top. */
  static begin(): PageTests {
    const tests = new PageTests();
    setDefaultTimeout(TIMEOUT_MS);
    beforeAll(async () => {
      tests.#server = await PageServer.start();
    });
    afterEach(async () => {
      for (const { close } of tests.#opened.splice(0)) await close();
    });
    afterAll(async () => {
      await tests.browser.close();
      await tests.#server?.stop();
    });
    return tests;
  }

  get server(): PageServer {
    if (this.#server === undefined) throw new Error("the server begins before the first test");
    return this.#server;
  }

  /** A page that is open until its test is over, and shows nothing yet. */
  async blank({ world = FULL, ...options }: Opening = {}): Promise<OpenedPage> {
    this.server.world = world;
    const opened = await this.browser.open(options);
    this.#opened.push(opened);
    return opened;
  }

  /** One at this address. */
  async open(path: string, opening?: Opening): Promise<OpenedPage> {
    const opened = await this.blank(opening);
    await opened.page.goto(`${this.server.url}${path}`);
    return opened;
  }

  /** As `open`; the live stream has begun. */
  async openLive(path: string, opening?: Opening): Promise<OpenedPage> {
    const opened = await this.open(path, opening);
    await opened.page.locator(LIVE).waitFor();
    return opened;
  }
}

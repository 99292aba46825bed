/** Debian's Chromium, headless, for tests of the page: one browser for a file of tests, a fresh context for each page. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Shorter than a test may take: a test that times out would take the browser with it. */
const STEP_TIMEOUT_MS = 10_000;

export interface OpenedPage {
  readonly page: Page;
  /** What the browser complained of: scripts that failed, what the content security policy refused. */
  readonly complaints: string[];
  close(): Promise<void>;
}

export class Chromium {
  #browser: Browser | undefined;

  async open(options: BrowserContextOptions = {}): Promise<OpenedPage> {
    if (this.#browser?.isConnected() !== true) {
      this.#browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: ARGUMENTS });
    }
    const context = await this.#browser.newContext({
      viewport: { width: 1440, height: 900 },
      locale: "en-GB",
      timezoneId: "UTC",
      ...options,
    });
    context.setDefaultTimeout(STEP_TIMEOUT_MS);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !/^Failed to load resource/.test(message.text()))
        complaints.push(message.text());
    });
    return { page, complaints, close: async () => await context.close() };
  }

  async close(): Promise<void> {
    await this.#browser?.close();
    this.#browser = undefined;
  }
}

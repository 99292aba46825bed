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
const STEP_TIMEOUT_MS = 15_000;

export interface OpenedPage {
  readonly page: Page;
  /** What the browser complained of: scripts that failed, what the content security policy refused. */
  readonly complaints: string[];
  /** Answers that were errors, as `401 /api/v1/overview`: whether one was to be expected is the test's to say. */
  readonly errors: string[];
  close(): Promise<void>;
}

/** Of a view in English, wide and light; in Portuguese, 360 px wide and dark: as the browser asks for it. */
export const WIDE = { locale: "en-GB", colorScheme: "light", viewport: { width: 1440, height: 900 } } as const;
export const NARROW = { locale: "pt-BR", colorScheme: "dark", viewport: { width: 360, height: 740 } } as const;

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
    const errors: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // Those of answers are in `errors`.
      if (message.type() === "error" && !/^Failed to load resource/.test(message.text()))
        complaints.push(message.text());
    });
    page.on("response", (response) => {
      if (response.status() >= 400) errors.push(`${response.status()} ${new URL(response.url()).pathname}`);
    });
    return { page, complaints, errors, close: async () => await context.close() };
  }

  /** What a page's threads did meanwhile, as the browser's own profiler tells it: JSON of trace events. */
  async traced(page: Page, during: () => Promise<void>): Promise<string> {
    if (this.#browser === undefined) throw new Error("no page was opened");
    const categories = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "v8"];
    await this.#browser.startTracing(page, { screenshots: false, categories });
    await during();
    return (await this.#browser.stopTracing()).toString("utf8");
  }

  async close(): Promise<void> {
    await this.#browser?.close();
    this.#browser = undefined;
  }
}

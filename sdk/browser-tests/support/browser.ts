// Debian's Chromium, as it comes. There is no test without it: a missing browser is a failure.
import { existsSync } from "node:fs";

import { chromium } from "playwright-core";
import type { Browser, BrowserContext, Page } from "playwright-core";

const EXECUTABLE = process.env["EDGESEAL_TEST_CHROMIUM"] ?? "/usr/bin/chromium";
// Nothing that phones home or waits for a network that tests do not have.
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const LOADED_WITHIN_MS = 15_000;

export async function launchChromium(): Promise<Browser> {
  if (!existsSync(EXECUTABLE)) {
    throw new Error(
      `no Chromium at ${EXECUTABLE}: run scripts/install-chromium.sh, or name it in EDGESEAL_TEST_CHROMIUM`,
    );
  }
  return chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
}

/** A browser with its own storage: what one person's browser is. */
export async function newVisitor(browser: Browser): Promise<BrowserContext> {
  const context = await browser.newContext();
  context.setDefaultTimeout(LOADED_WITHIN_MS);
  return context;
}

/** What went wrong in a page without anybody catching it; has to stay empty. */
export function uncaughtErrors(page: Page): string[] {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("crash", () => errors.push("the page crashed"));
  return errors;
}

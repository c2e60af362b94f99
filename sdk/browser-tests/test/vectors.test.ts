// The tokens that every implementation must agree on, in the browser that has to.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";

import type { Vectors } from "../../client/test/support/judge.js";
import { launchChromium } from "../support/browser.js";
import { startSite } from "../support/site.js";
import type { Site } from "../support/site.js";

const vectors = JSON.parse(
  readFileSync(new URL("../../../vectors/sealing.json", import.meta.url), "utf8"),
) as Vectors;

let browser: Browser;
let site: Site;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), startSite(inject("pages"))]);
});
afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

async function openPage(): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${site.url}/verify.html`);
  await page.waitForFunction(() => window.verification !== undefined);
  return page;
}

async function judge(page: Page): Promise<void> {
  const { cases, disagreements } = await page.evaluate(
    (vectors) => window.verification.judgeVectors(vectors),
    vectors,
  );
  expect(disagreements).toEqual([]);
  expect(cases).toBeGreaterThanOrEqual(260);
}

test("every good token is accepted and every bad one refused with its code", async () => {
  const page = await openPage();
  await judge(page);
  await page.close();
});

test("Rust and this browser agree on every mutated token", { timeout: 180_000 }, async () => {
  const file = process.env["EDGESEAL_MUTATIONS"];
  if (!file) {
    throw new Error(
      "set EDGESEAL_MUTATIONS to a file made by `cargo run -p edgeseal-testkit --bin mutations -- FILE`",
    );
  }
  site.page("/mutations.ndjson", async () => ({ body: await readFile(file) }));
  const page = await openPage();
  const { agreed, accepted, disagreements } = await page.evaluate(() =>
    window.verification.judgeMutations("/mutations.ndjson"),
  );
  expect(disagreements.join("\n")).toBe("");
  expect(agreed).toBeGreaterThanOrEqual(20_000);
  expect(accepted).toBeGreaterThanOrEqual(1_000);
  await page.close();
});

test("so it is without Ed25519 in WebCrypto, by the fallback that is loaded then", async () => {
  const page = await browser.newPage();
  // As browsers before Chrome 137, Firefox 129 and Safari 17 answer.
  await page.addInitScript(() => {
    const importKey = crypto.subtle.importKey.bind(crypto.subtle) as (
      ...parts: unknown[]
    ) => Promise<CryptoKey>;
    crypto.subtle.importKey = ((format: string, key: unknown, algorithm: unknown, ...rest: unknown[]) =>
      JSON.stringify(algorithm).includes("Ed25519")
        ? Promise.reject(new DOMException("Algorithm: Unrecognized name", "NotSupportedError"))
        : importKey(format, key, algorithm, ...rest)) as typeof crypto.subtle.importKey;
  });
  const scripts: string[] = [];
  page.on("response", (response) => scripts.push(new URL(response.url()).pathname));
  await page.goto(`${site.url}/verify.html`);
  await page.waitForFunction(() => window.verification !== undefined);
  const before = scripts.length;
  await judge(page);
  expect(scripts.slice(before).filter((path) => path.endsWith(".js"))).toHaveLength(1);
  await page.close();
});

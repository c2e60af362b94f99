// How long verification takes in Chromium: the edge's own tokens, every one another unit's.
import type { Browser } from "playwright-core";

import { distribution } from "./distribution.js";
import type { Distribution } from "./distribution.js";
import { EXPERIMENT } from "./edgeseal.js";
import type { World } from "./world.js";

export const TARGETS = { verifyP50Ms: 0.3, verifyP99Ms: 1.2, readNs: 1000 };

const TOKENS = 2_000;
const WARM_UP = 200;
const AT_ONCE = 16;

export interface Figures {
  verify: Distribution;
  /** The engine's signature check alone, on the same bytes in the same loop: the yardstick. */
  bare: Distribution;
  /** Nanoseconds of one `get`. */
  read: Distribution;
}

type ReadOptions = Parameters<Window["verification"]["measureReads"]>[0];
type Parts = Pick<World, "server" | "site" | "embedded" | "options"> & { browser: Browser };

export async function measure(world: Parts): Promise<Figures> {
  // Isolated pages have a clock of 5 µs; others one of 100 µs, too coarse for this.
  world.site.pageWithHeaders("/isolated.html", "verify.html", {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
  });
  const page = await world.browser.newPage();
  await page.goto(`${world.site.url}/isolated.html`);
  await page.waitForFunction(() => window.verification !== undefined);
  if (!(await page.evaluate(() => crossOriginIsolated))) throw new Error("the page is not isolated");

  const { environment, rootKey } = world.server;
  const { keyset, status } = await world.embedded("user-1");
  const units = Array.from({ length: WARM_UP + TOKENS }, (_, n) => `measured-${n}`);
  const tokens: { unit: string; token: string }[] = [];
  for (let at = 0; at < units.length; at += AT_ONCE) {
    const some = units.slice(at, at + AT_ONCE);
    tokens.push(
      ...(await Promise.all(some.map(async (unit) => ({ unit, token: await world.server.token(unit) })))),
    );
  }
  const workload = { environment, rootKey, keyset, status, tokens, warmUp: WARM_UP };
  const { ours, bare } = await page.evaluate(
    (workload) => window.verification.measureVerification(workload),
    workload,
  );

  const unit = await world.server.unitWith("treatment");
  const options = {
    ...world.options(unit, { storage: null, sessionStorage: null, updates: "off", sendEvents: false }),
    initial: await world.embedded(unit),
  };
  const reads = await page.evaluate(
    ({ options, key }) => window.verification.measureReads(options as ReadOptions, key),
    { options: options as unknown, key: EXPERIMENT },
  );
  await page.close();
  return { verify: distribution(ours), bare: distribution(bare), read: distribution(reads) };
}

// Storage that is full, denied, or written by somebody else.
import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

test("full storage: everything works, from memory", async () => {
  const unit = await world.server.unitWith("treatment");
  const visitor = await world.visitor();
  await visitor.addInitScript(() => {
    for (const storage of [localStorage, sessionStorage]) {
      for (let size = 1 << 22; size >= 1; size >>= 1) {
        for (let n = 0; n < 4; n++) {
          try {
            storage.setItem(`filler-${size}-${n}`, "x".repeat(size));
          } catch {
            // as full as it gets with this size
          }
        }
      }
    }
  });
  const client = await world.open(visitor, { options: world.options(unit), experiment: EXPERIMENT });
  await client.ready();
  const isFull = () => {
    try {
      localStorage.setItem("a key", "x".repeat(100));
      return false;
    } catch (error) {
      return (error as DOMException).name === "QuotaExceededError";
    }
  };
  expect(await client.page.evaluate(isFull)).toBe(true);
  await verifiedAs(client, "treatment");
  await countsAndHalts(client);
});

test("denied storage, locks and all: everything works, from memory", async () => {
  // A sandboxed document has no origin: reading `localStorage` throws a SecurityError.
  world.site.pageWithHeaders("/sandboxed.html", "client.html", {
    "content-security-policy": "sandbox allow-scripts",
  });
  const unit = await world.server.unitWith("treatment");
  const config = { options: world.options(unit), experiment: EXPERIMENT };
  const client = await world.open(await world.visitor(), config, "/sandboxed.html");
  await client.ready();
  const isDenied = () => {
    try {
      return !localStorage;
    } catch (error) {
      return (error as DOMException).name === "SecurityError";
    }
  };
  expect(await client.page.evaluate(isDenied)).toBe(true);
  await verifiedAs(client, "treatment");
  await countsAndHalts(client);
});

async function countsAndHalts(client: Awaited<ReturnType<typeof world.open>>): Promise<void> {
  await client.page.evaluate(() => window.edgeseal.track("purchase", 3));
  await client.call("flush");
  expect(world.proxy.events.map((event) => event.type).sort()).toEqual(["exposure", "metric"]);
  await eventually("the stream is open", 5_000, () => world.proxy.openStreams === 1);
  await world.server.pause(EXPERIMENT);
  await eventually("the page falls back", 3_000, async () => (await client.reading()).reason === "halted");
  await world.server.resume(EXPERIMENT);
}

/** Changes each stored text that holds `needle`; says how many. */
function rewriteStorage(page: Page, needle: string, replacement: string): Promise<number> {
  return page.evaluate(
    ([needle, replacement]) => {
      let changed = 0;
      for (const name of Object.keys(localStorage)) {
        const text = localStorage.getItem(name)!;
        if (!text.includes(needle!)) continue;
        localStorage.setItem(name, text.replaceAll(needle!, replacement!));
        changed++;
      }
      return changed;
    },
    [needle, replacement],
  );
}

test("a token in storage that somebody changed is refused, dropped and fetched anew", async () => {
  const unit = await world.server.unitWith("control");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await verifiedAs(client, "control");

  const [header, claims, signature] = (await world.server.token(unit)).split(".") as [string, string, string];
  const forged = Buffer.from(
    Buffer.from(claims, "base64url").toString().replace('"v":"control"', '"v":"treatment"'),
  ).toString("base64url");
  expect(forged).not.toBe(claims);
  // The minute may have turned since the page fetched its token; so by its beginning, not by the whole of it.
  const stored = await storedToken(client.page, header);
  await client.page.evaluate(() => window.edgeseal.close());
  expect(await rewriteStorage(client.page, stored, `${header}.${forged}.${signature}`)).toBeGreaterThan(0);

  await client.page.reload();
  await client.ready();
  await verifiedAs(client, "control");
  expect(await client.shown()).not.toContain("treatment");
  expect(await client.errorCodes()).toContain("E_SIGNATURE");
});

test("another unit's token in storage is a leak, and never shown", async () => {
  const unit = await world.server.unitWith("control", EXPERIMENT, "mine-");
  const another = await world.server.unitWith("treatment", EXPERIMENT, "another-");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  const token = await world.server.token(another);
  const stored = await storedToken(client.page, token.split(".")[0]!);
  await client.page.evaluate(() => window.edgeseal.close());
  expect(await rewriteStorage(client.page, stored, token)).toBeGreaterThan(0);

  await client.page.reload();
  await client.ready();
  await verifiedAs(client, "control");
  expect(await client.shown()).not.toContain("treatment");
  expect(await client.told("leak")).toMatchObject([{ source: "storage" }]);
});

const rubbish = [
  "",
  "null",
  "[]",
  "{}",
  "42",
  '"text"',
  "{",
  '{"__proto__":{"token":"x"}}',
  '{"token":5,"keyset":[],"memory":null,"queue":"x"}',
  "\u0000\ud800",
  "9".repeat(100_000),
];

test("rubbish in every place of storage: the client starts as on the first day", async () => {
  const unit = await world.server.unitWith("control");
  const visitor = await world.visitor();
  const client = await world.open(visitor, { options: world.options(unit), experiment: EXPERIMENT });
  await client.ready();
  await client.call("flush");
  for (const text of rubbish) {
    const places = await client.page.evaluate((text) => {
      window.edgeseal.close();
      let places = 0;
      for (const storage of [localStorage, sessionStorage]) {
        for (const name of Object.keys(storage)) {
          storage.setItem(name, text);
          places++;
        }
      }
      return places;
    }, text);
    expect(places).toBeGreaterThan(0);
    await client.page.reload();
    await client.ready();
    await verifiedAs(client, "control");
    expect(await client.shown(), text.slice(0, 40)).not.toContain("treatment");
  }
});

async function storedToken(page: Page, header: string): Promise<string> {
  const texts = await page.evaluate(() => Object.values({ ...localStorage }) as string[]);
  for (const text of texts) {
    const found = new RegExp(`${header}\\.[\\w-]+\\.[\\w-]+`).exec(text);
    if (found) return found[0];
  }
  throw new Error(`no token in storage: ${JSON.stringify(texts).slice(0, 500)}`);
}

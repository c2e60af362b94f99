// HTML from a server with the variant in it, hydrated: nothing moves, nothing renders twice.
import { createEdgesealServer } from "@edgeseal/client/server";
import { EdgesealProvider } from "@edgeseal/react";
import type { Page } from "playwright-core";
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";

import { App } from "../pages/app.js";
import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";
import type { ClientPage } from "../support/world.js";

const world = useWorld();

/** A page as a server that uses this package makes it. `tamper` changes it on its way. */
async function servePage(
  unit: string,
  tamper = (html: string) => html,
  edgeUrl = world.server.url,
): Promise<string> {
  const { environment, rootKey } = world.server;
  const server = createEdgesealServer({ environment, rootKey, edgeUrl });
  const { edgeseal, script } = await server.assign({ unit });
  const html = renderToString(
    <EdgesealProvider client={edgeseal}>
      <App experiment={EXPERIMENT} />
    </EdgesealProvider>,
  );
  const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><div id="root">${html}</div>${script}<script type="module" src="/react.js"></script>`;
  world.site.page("/ssr", () => ({ headers: { "content-type": "text/html" }, body: tamper(page) }));
  return html;
}

/** Watches the layout and the text of the variant from the first frame on. */
function watch(): void {
  const watched = { shift: 0, texts: [] as string[] };
  Object.assign(window, { watched });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      watched.shift += (entry as PerformanceEntry & { value: number }).value;
  }).observe({ type: "layout-shift", buffered: true });
  new MutationObserver(() => {
    const text = document.querySelector("#variant")?.textContent;
    if (text && watched.texts.at(-1) !== text) watched.texts.push(text);
  }).observe(document, { childList: true, subtree: true, characterData: true });
}

const watched = (page: Page) =>
  page.evaluate(() => (window as unknown as { watched: { shift: number; texts: string[] } }).watched);

async function openWatched(
  unit: string,
  path: string,
  prepare?: () => void,
): Promise<{ client: ClientPage; problems: string[] }> {
  const visitor = await world.visitor();
  if (prepare) await visitor.addInitScript(prepare);
  await visitor.addInitScript(watch);
  const problems: string[] = [];
  visitor.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  const client = await world.open(visitor, { options: world.options(unit), experiment: EXPERIMENT }, path);
  return { client, problems };
}

test.each(["control", "treatment"])("%s: no layout shift, no second render, no mismatch", async (variant) => {
  const unit = await world.server.unitWith(variant);
  const html = await servePage(unit);
  expect(html).toContain(variant);
  world.proxy.misbehave((asked) => asked.url.pathname.startsWith("/v1/assignments/") && { delayMs: 300 });

  const { client, problems } = await openWatched(unit, "/ssr");
  await client.ready();
  await verifiedAs(client, variant);
  await client.page.waitForTimeout(700);

  expect(await watched(client.page)).toEqual({ shift: 0, texts: [variant] });
  expect(await client.shown()).toEqual([variant]);
  expect(await client.told("hydration")).toEqual([]);
  expect(problems).toEqual([]);
  expect(await client.told("exposure")).toEqual([{ experiment: EXPERIMENT, variant }]);
});

/** Hydration begins before verification ends, as on a phone that has other things to do. */
function verifySlowly(): void {
  const { subtle } = crypto;
  const verify = subtle.verify.bind(subtle);
  subtle.verify = async (...parts) => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    return verify(...parts);
  };
}

test.each(["control", "treatment"])("%s, verified long after it was hydrated: the same", async (variant) => {
  const unit = await world.server.unitWith(variant);
  await servePage(unit);
  const { client, problems } = await openWatched(unit, "/ssr", verifySlowly);
  expect(await client.reading()).toMatchObject({ variant, isVerified: false });
  expect(await client.told("exposure")).toEqual([]);
  await client.ready();
  await verifiedAs(client, variant);

  expect(await watched(client.page)).toEqual({ shift: 0, texts: [variant] });
  expect(await client.shown()).toEqual([variant]);
  expect(await client.told("hydration")).toEqual([]);
  expect(problems).toEqual([]);
});

test.each([
  ["at once", () => undefined],
  ["late", verifySlowly],
])(
  "an experiment that the server knows to be paused is not shown by hydration, verified %s",
  async (_, prepare) => {
    const unit = await world.server.unitWith("treatment");
    const token = await world.server.token(unit);
    await world.server.pause(EXPERIMENT);
    try {
      // A cache between server and edge that still has the token from before.
      world.proxy.misbehave(
        (asked) =>
          asked.url.pathname.startsWith("/v1/assignments/") && {
            answer: { headers: { "content-type": "application/jwt" }, body: token },
          },
      );
      const html = await servePage(unit, undefined, world.proxy.url);
      expect(html).toContain("default");
      const { client, problems } = await openWatched(unit, "/ssr", prepare);
      await client.ready();
      expect(await client.reading()).toMatchObject({ variant: null, reason: "halted" });
      expect((await watched(client.page)).texts).toEqual(["default"]);
      expect(await client.shown()).toEqual(["default"]);
      expect(problems).toEqual([]);
    } finally {
      await world.server.resume(EXPERIMENT);
    }
  },
);

test("the same application without a server shifts: the observer sees what it is there for", async () => {
  const unit = await world.server.unitWith("treatment");
  world.proxy.misbehave((asked) => asked.url.pathname.startsWith("/v1/assignments/") && { delayMs: 500 });
  const { client } = await openWatched(unit, "/react.html");
  await client.ready();
  await verifiedAs(client, "treatment");
  await client.page.waitForTimeout(300);
  const { shift, texts } = await watched(client.page);
  expect(shift).toBeGreaterThan(0);
  expect(texts).toEqual(["loading", "treatment"]);
});

test("an embedded token that somebody changed: replaced by a verified one, without an exposure to the forged variant", async () => {
  const unit = await world.server.unitWith("control");
  await servePage(unit, (html) => {
    const forged = html.replace(/(eyJ[\w-]+)\.(eyJ[\w-]+)\./, (_, header: string, claims: string) => {
      const text = Buffer.from(claims, "base64url").toString().replace('"v":"control"', '"v":"treatment"');
      return `${header}.${Buffer.from(text).toString("base64url")}.`;
    });
    expect(forged).not.toBe(html);
    return forged.replace(">control<", ">treatment<");
  });
  const { client } = await openWatched(unit, "/ssr");
  await client.ready();
  await verifiedAs(client, "control");
  await eventually(
    "the page shows it",
    5_000,
    async () => (await client.page.textContent("#variant")) === "control",
  );
  expect(await client.errorCodes()).toContain("E_SIGNATURE");
  await client.call("flush");
  const exposures = world.proxy.events.filter((event) => event.type === "exposure");
  expect(new Set(exposures.map((event) => event.id)).size).toBe(1);
  expect(await client.told("exposure")).toEqual([{ experiment: EXPERIMENT, variant: "control" }]);
});

test("a page from a server that could not reach its edge hydrates with the default, then shows the variant", async () => {
  const unit = await world.server.unitWith("treatment");
  const { environment, rootKey } = world.server;
  const server = createEdgesealServer({
    environment,
    rootKey,
    edgeUrl: "http://127.0.0.1:9",
    timeoutMs: 300,
  });
  const begun = performance.now();
  const { embedded, edgeseal, script } = await server.assign({ unit });
  expect(performance.now() - begun).toBeLessThan(2_000);
  expect(embedded).toBeNull();
  const html = renderToString(
    <EdgesealProvider client={edgeseal}>
      <App experiment={EXPERIMENT} />
    </EdgesealProvider>,
  );
  const body = `<!doctype html><link rel="icon" href="data:,"><body><div id="root">${html}</div>${script}<script type="module" src="/react.js"></script>`;
  world.site.page("/ssr", () => ({ headers: { "content-type": "text/html" }, body }));

  const { client, problems } = await openWatched(unit, "/ssr");
  await client.ready();
  await verifiedAs(client, "treatment");
  expect(await client.told("hydration")).toEqual([]);
  expect(problems).toEqual([]);
});

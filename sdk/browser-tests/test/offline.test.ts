// No network at all, or only no edge.
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

test("a reload without any network, within the token's life, shows the verified variant", async () => {
  // An application that works offline: its service worker keeps the page, the client keeps the token.
  world.site.page("/worker.js", () => ({ headers: { "content-type": "text/javascript" }, body: WORKER }));
  const unit = await world.server.unitWith("treatment");
  const visitor = await world.visitor();
  const client = await world.open(visitor, { options: world.options(unit), experiment: EXPERIMENT });
  await client.ready();
  await verifiedAs(client, "treatment");
  await client.page.evaluate(async () => {
    await navigator.serviceWorker.register("/worker.js");
    await navigator.serviceWorker.ready;
  });

  await visitor.setOffline(true);
  world.site.goDown();
  world.proxy.goDown();
  try {
    await client.page.reload();
    await client.page.waitForFunction(() => window.edgeseal !== undefined);
    await client.ready();
    expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true, status: "ready" });
    expect(
      await client.evaluate(() =>
        fetch("/nothing").then(
          () => "online",
          () => "offline",
        ),
      ),
    ).toBe("offline");

    await client.page.evaluate(() => window.edgeseal.track("purchase", 7));
    await client.call("flush");
  } finally {
    world.site.comeBack();
    world.proxy.comeBack();
  }
  expect(world.proxy.events.filter((event) => event.type === "metric")).toEqual([]);

  await visitor.setOffline(false);
  await client.page.reload();
  await client.ready();
  await eventually("what was counted offline arrives", 15_000, () =>
    world.proxy.events.some((event) => event.type === "metric" && event["value"] === 7),
  );
});

const WORKER = `

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open("pages");
    const page = await (await fetch("/client.html")).text();
    const assets = [...page.matchAll(/(?:src|href)="(\\/[^"]+)"/g)].map((found) => found[1]);
    await cache.addAll(["/client.html", ...assets]);
    await self.skipWaiting();
  })());
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
});
`;

test("a first visit without an edge: the default, an error, and the variant once the edge is back", async () => {
  const unit = await world.server.unitWith("treatment");
  world.proxy.goDown();
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  expect(await client.reading()).toMatchObject({
    variant: null,
    status: "error",
    error: "E_NETWORK",
    isVerified: false,
  });
  world.proxy.comeBack();
  await eventually(
    "the client tries again by itself",
    10_000,
    async () => (await client.reading()).isVerified,
  );
  expect(await client.shown()).toEqual(["default", "treatment"]);
});

test("events wait in storage while the edge is down, and arrive once after a reload", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await verifiedAs(client, "treatment");
  world.proxy.goDown();
  await client.page.evaluate(() => window.edgeseal.track("purchase", 19.5));
  await client.call("flush");
  await client.page.reload();
  await client.ready();
  expect(world.proxy.events).toEqual([]);
  world.proxy.comeBack();
  await client.call("flush");
  await eventually("the purchase arrives", 15_000, () =>
    world.proxy.events.some((event) => event.type === "metric"),
  );
  await client.call("flush");
  expect(world.proxy.events.filter((event) => event.type === "metric")).toMatchObject([{ value: 19.5 }]);
  expect(world.proxy.events.filter((event) => event.type === "exposure")).toHaveLength(1);
});

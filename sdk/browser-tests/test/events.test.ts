// Exposures and metrics, as they arrive.
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("an exposure is counted once a session, with the token that says so", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await verifiedAs(client, "treatment");
  await client.page.evaluate((key) => {
    for (let n = 0; n < 5; n++) window.edgeseal.expose(key);
  }, EXPERIMENT);
  await client.call("flush");
  await client.page.reload();
  await client.ready();
  await verifiedAs(client, "treatment");
  await client.call("flush");

  expect(world.proxy.events).toHaveLength(1);
  const [event] = world.proxy.events;
  expect(event).toMatchObject({ type: "exposure", experiment: EXPERIMENT });
  expect(event!.id).toMatch(UUID_V7);
  expect(Math.abs(event!.ts - Date.now())).toBeLessThan(60_000);
  const claims = JSON.parse(
    Buffer.from(world.proxy.batches[0]!.token.split(".")[1]!, "base64url").toString(),
  );
  expect(claims.a[EXPERIMENT].v).toBe("treatment");
});

test("what waits is sent when the page goes away", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await verifiedAs(client, "treatment");
  await client.page.evaluate(() => window.edgeseal.track("purchase", 42));
  expect(world.proxy.events).toEqual([]);
  await client.page.goto("about:blank");
  await eventually("both arrive", 4_000, () => world.proxy.events.length >= 2);
  expect(world.proxy.events.map((event) => event.type).sort()).toEqual(["exposure", "metric"]);
});

test("batches stay small, however much is tracked", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await client.page.evaluate(() => {
    for (let n = 0; n < 450; n++) window.edgeseal.track("m".repeat(100), n);
  });
  await eventually("everything arrives", 20_000, async () => {
    await client.call("flush");
    return world.proxy.events.filter((event) => event.type === "metric").length >= 450;
  });
  for (const batch of world.proxy.batches) {
    expect(batch.events.length).toBeLessThanOrEqual(100);
    expect(JSON.stringify(batch).length).toBeLessThanOrEqual(48 * 1024);
  }
  const values = world.proxy.events.filter((event) => event.type === "metric").map((event) => event["value"]);
  expect(new Set(values).size).toBe(450);
  expect(values).toHaveLength(450);
});

test("values that are no numbers are not sent, and nothing throws", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await client.page.evaluate(() => {
    for (const value of [Number.NaN, Infinity, -Infinity]) window.edgeseal.track("purchase", value);
    window.edgeseal.track("purchase", -0.5);
  });
  await client.call("flush");
  const values = world.proxy.events.filter((event) => event.type === "metric").map((event) => event["value"]);
  expect(values).toEqual([-0.5]);
});

test.each([429, 500, 503])("status %i: the batch is kept and sent again", async (status) => {
  const unit = await world.server.unitWith("treatment");
  let refused = 0;
  world.proxy.misbehave(
    (asked) =>
      asked.url.pathname === "/v1/events" &&
      asked.method === "POST" &&
      refused++ === 0 && { answer: { status, headers: { "retry-after": "1" }, body: "later" } },
  );
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await verifiedAs(client, "treatment");
  await client.call("flush");
  await eventually("it is sent again", 15_000, () => world.proxy.events.length > 0);
  expect(refused).toBeGreaterThanOrEqual(2);
  expect(world.proxy.events.map((event) => event.type)).toEqual(["exposure"]);
});

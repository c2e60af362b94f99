// Two tabs of one visitor: one stream for both, and everything that was seen is counted once.
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

test("two tabs share one stream; when the tab that holds it closes, the other takes over", async () => {
  const unit = await world.server.unitWith("treatment");
  const visitor = await world.visitor();
  const config = { options: world.options(unit), experiment: EXPERIMENT };
  const first = await world.open(visitor, config);
  await first.ready();
  await eventually("the first tab's stream is open", 5_000, () => world.proxy.openStreams === 1);
  const second = await world.open(visitor, config);
  await second.ready();
  await second.page.waitForTimeout(500);
  expect(world.proxy.requests("/v1/stream")).toHaveLength(1);

  await world.server.pause(EXPERIMENT);
  for (const tab of [first, second]) {
    await eventually("the tab falls back", 2_000, async () => (await tab.reading()).reason === "halted");
  }
  await world.server.resume(EXPERIMENT);
  for (const tab of [first, second]) await verifiedAs(tab, "treatment");

  await first.page.close();
  await eventually("the second tab's stream is open", 5_000, () => world.proxy.openStreams === 1);
  await world.server.pause(EXPERIMENT);
  await eventually(
    "the second tab falls back",
    2_000,
    async () => (await second.reading()).reason === "halted",
  );
  await world.server.resume(EXPERIMENT);
});

test("what both tabs count arrives, all of it, and nothing under two ids", async () => {
  const unit = await world.server.unitWith("treatment");
  const visitor = await world.visitor();
  const config = { options: world.options(unit), experiment: EXPERIMENT };
  const tabs = [await world.open(visitor, config), await world.open(visitor, config)];
  for (const tab of tabs) await tab.ready();
  for (const [at, tab] of tabs.entries()) {
    await tab.page.evaluate((at) => {
      for (let n = 0; n < 10; n++) window.edgeseal.track("purchase", at * 100 + n);
    }, at);
  }
  await Promise.all(tabs.map((tab) => tab.call("flush")));
  const metrics = () => world.proxy.events.filter((event) => event.type === "metric");
  const distinct = (member: string) => new Set(metrics().map((event) => event[member])).size;
  await eventually("everything has arrived", 5_000, () => distinct("value") === 20);
  // Both tabs may have sent the same event: it has one id, by which it is counted once.
  expect(distinct("id")).toBe(20);
});

// An experiment is paused while pages are open.
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

const FALLS_BACK_WITHIN_MS = 1_000;

test(`an open page falls back within ${FALLS_BACK_WITHIN_MS} ms, and comes back after a resume`, async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await eventually("the stream is open", 5_000, () => world.proxy.openStreams === 1);

  const took: number[] = [];
  for (let round = 0; round < 3; round++) {
    await verifiedAs(client, "treatment");
    const begun = performance.now();
    const paused = client.page.waitForFunction(
      () => document.querySelector("#variant")?.textContent === "default",
    );
    await world.server.pause(EXPERIMENT);
    await paused;
    took.push(performance.now() - begun);
    expect(await client.reading()).toMatchObject({ variant: null, reason: "halted", isVerified: true });
    await world.server.resume(EXPERIMENT);
  }
  await verifiedAs(client, "treatment");

  console.log(`pause to page: ${took.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  expect(Math.max(...took)).toBeLessThanOrEqual(FALLS_BACK_WITHIN_MS);
});

test("a session that is locked to its variant falls back all the same", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit, { drift: "lock" }),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await client.page.reload();
  await client.ready();
  await verifiedAs(client, "treatment");
  await world.server.pause(EXPERIMENT);
  await eventually("the page falls back", 5_000, async () => (await client.reading()).reason === "halted");
  await world.server.resume(EXPERIMENT);
});

test("where streams do not get through, polling hears of it", async () => {
  world.proxy.misbehave(
    (asked) => asked.url.pathname === "/v1/stream" && { answer: { status: 502, body: "no streams here" } },
  );
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit, { pollIntervalMs: 500 }),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await eventually("the client polls", 15_000, () => world.proxy.requests("/v1/status").length > 1);
  await world.server.pause(EXPERIMENT);
  await eventually("the page falls back", 3_000, async () => (await client.reading()).reason === "halted");
  await world.server.resume(EXPERIMENT);
  await verifiedAs(client, "treatment");
});

test("a page that opens while the experiment is paused never shows its variant, not even from an old token", async () => {
  const unit = await world.server.unitWith("treatment");
  const initial = await world.embedded(unit);
  await world.server.pause(EXPERIMENT);
  const { status } = await world.embedded(unit);
  const client = await world.open(await world.visitor(), {
    options: world.options(unit, { initial: { ...initial, status } }),
    experiment: EXPERIMENT,
  });
  await client.ready();
  expect(await client.reading()).toMatchObject({ variant: null, reason: "halted" });
  expect(await client.shown()).toEqual(["default"]);
  await world.server.resume(EXPERIMENT);
});

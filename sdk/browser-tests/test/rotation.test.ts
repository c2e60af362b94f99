// Keys change while a page is open.
import { expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const world = useWorld();

const kidOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split(".")[0]!, "base64url").toString()) as { kid: string }).kid;

test("a rotated key: the page fetches the keyset and goes on without a failed verification", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  const before = kidOf(await world.server.token(unit));
  for (let round = 0; round < 2; round++) {
    await world.server.rotateEdgeKey();
    expect(kidOf(await world.server.token(unit))).not.toBe(before);
    await client.call("refresh");
    expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true, error: null });
  }
  expect(await client.shown()).toEqual(["default", "treatment"]);
  expect(await client.told("error")).toEqual([]);
  expect(world.proxy.requests("/v1/keyset").length).toBeLessThanOrEqual(3);
});

test("a revoked key: its token stops counting, and the page gets one from the key that took over", async () => {
  const unit = await world.server.unitWith("treatment");
  const client = await world.open(await world.visitor(), {
    options: world.options(unit),
    experiment: EXPERIMENT,
  });
  await client.ready();
  await eventually("the stream is open", 5_000, () => world.proxy.openStreams === 1);
  const revoked = kidOf(await world.server.token(unit));
  world.proxy.asked.length = 0;
  await world.server.api("POST", "/keys/revoke", { kid: revoked });

  const asked = await eventually(
    "the page asks anew by itself",
    10_000,
    () => world.proxy.requests("/v1/assignments/")[0],
  );
  expect(asked).toBeTruthy();
  await verifiedAs(client, "treatment");
  expect(kidOf(await world.server.token(unit))).not.toBe(revoked);

  // What is in storage is not the revoked token: it would not verify after a reload.
  await client.page.reload();
  await client.ready();
  await verifiedAs(client, "treatment");
});

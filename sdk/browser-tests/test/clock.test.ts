// The visitor's clock is two hours wrong. Here it is the server's, which comes to the same and leaves the browser as it
// is: every `Date`, timer and cache in it is the real one.
import { describe, expect, test } from "vitest";

import { EXPERIMENT } from "../support/edgeseal.js";
import { eventually } from "../support/eventually.js";
import { useWorld, verifiedAs } from "../support/world.js";

const HOUR_S = 3600;

describe.each([
  ["two hours fast", -2 * HOUR_S],
  ["two hours slow", 2 * HOUR_S],
])("with a clock that is %s", (_, clockOffsetS) => {
  const world = useWorld({ clockOffsetS });

  test("the server's time is another than the browser's", async () => {
    const claims = JSON.parse(
      Buffer.from((await world.server.token("user-1")).split(".")[1]!, "base64url").toString(),
    );
    expect(Math.abs((claims as { iat: number }).iat - (Date.now() / 1000 + clockOffsetS))).toBeLessThan(120);
  });

  test("a token from the network verifies, a reload finds it in storage, and a pause is heard", async () => {
    const unit = await world.server.unitWith("treatment");
    const client = await world.open(await world.visitor(), {
      options: world.options(unit),
      experiment: EXPERIMENT,
    });
    await client.ready();
    await verifiedAs(client, "treatment");

    await client.page.reload();
    await client.ready();
    await verifiedAs(client, "treatment");

    await eventually("the stream is open", 5_000, () => world.proxy.openStreams === 1);
    await world.server.pause(EXPERIMENT);
    await eventually("the page falls back", 3_000, async () => (await client.reading()).reason === "halted");
    await world.server.resume(EXPERIMENT);
    await verifiedAs(client, "treatment");
  });

  test("a token that the server embedded verifies", async () => {
    const unit = await world.server.unitWith("treatment");
    const options = world.options(unit, { initial: await world.embedded(unit) });
    const client = await world.open(await world.visitor(), { options, experiment: EXPERIMENT });
    await client.ready();
    await verifiedAs(client, "treatment");
  });
});

// What must be fast is asked for here; `make bench ONLY=browser` writes the figures down.
import { expect, test } from "vitest";

import { describeDistribution } from "../support/distribution.js";
import { EXPERIMENT } from "../support/edgeseal.js";
import { measure, TARGETS } from "../support/measure.js";
import { useWorld } from "../support/world.js";

const world = useWorld();

// A machine that runs a test suite does other things as well: where even the engine alone misses a target, what is ours
// may take a multiple of that. The figures of a machine at rest are in bench/results.json.
const OF_THE_ENGINES = 3;
const ATTEMPTS = 3;

test("2 000 distinct tokens verify within the targets, and reads cost nothing", async () => {
  for (let attempt = 1; ; attempt++) {
    const { verify, bare, read } = await measure(world);
    console.log(describeDistribution("verification in Chromium", "ms", verify));
    console.log(describeDistribution("crypto.subtle.verify alone", "ms", bare));
    console.log(describeDistribution("read of a variant", "ns", read));
    try {
      expect(verify.count).toBe(2_000);
      expect(verify.p50).toBeLessThanOrEqual(Math.max(TARGETS.verifyP50Ms, OF_THE_ENGINES * bare.p50));
      expect(verify.p99).toBeLessThanOrEqual(Math.max(TARGETS.verifyP99Ms, OF_THE_ENGINES * bare.p99));
      expect(read.p50).toBeLessThanOrEqual(TARGETS.readNs);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}, 120_000);

test("with an embedded token nothing is asked of the network before the variant is there", async () => {
  const unit = await world.server.unitWith("treatment");
  const initial = await world.embedded(unit);
  world.proxy.misbehave(() => ({ hang: true }));
  const client = await world.open(await world.visitor(), {
    options: world.options(unit, { initial }),
    experiment: EXPERIMENT,
  });
  await client.ready();
  expect(await client.reading()).toMatchObject({ variant: "treatment", isVerified: true, status: "ready" });
  const { verifiedAt } = await client.seen();
  const loadedAt = await client.page.evaluate(() => performance.timeOrigin);
  const earlier = world.proxy.asked.filter((asked) => asked.at < loadedAt + verifiedAt!);
  expect(earlier.map((asked) => asked.path)).toEqual([]);

  // Nor soon afterwards, apart from the stream: what was embedded is fresh.
  await client.page.waitForTimeout(1_000);
  expect(world.proxy.requests("/v1/assignments/")).toEqual([]);
  expect(world.proxy.requests("/v1/keyset")).toEqual([]);
});

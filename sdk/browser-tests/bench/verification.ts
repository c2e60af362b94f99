// Measures verification in Chromium and writes the figures, as JSON, into the file that EDGESEAL_BENCH_FIGURES names.
import { writeFileSync } from "node:fs";

import { test } from "vitest";

import { describeDistribution } from "../support/distribution.js";
import { measure, TARGETS } from "../support/measure.js";
import { useWorld } from "../support/world.js";

const world = useWorld();

test("verification and reads in Chromium", async () => {
  const { verify, bare, read } = await measure(world);
  console.log(describeDistribution("verify one token", "ms", verify));
  console.log(describeDistribution("crypto.subtle.verify alone", "ms", bare));
  console.log(describeDistribution("read a variant", "ns", read));
  const figures = [
    {
      name: "verify one of 2 000 distinct tokens, p50",
      value: verify.p50,
      unit: "ms",
      target: TARGETS.verifyP50Ms,
      yardstick: { value: bare.p50 },
    },
    {
      name: "verify one of 2 000 distinct tokens, p99",
      value: verify.p99,
      unit: "ms",
      target: TARGETS.verifyP99Ms,
      yardstick: { value: bare.p99 },
    },
    {
      name: "read a variant, p50 of 20 rounds of 200 000",
      value: read.p50,
      unit: "ns",
      target: TARGETS.readNs,
    },
  ];
  const file = process.env["EDGESEAL_BENCH_FIGURES"];
  if (file) writeFileSync(file, JSON.stringify(figures));
});

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compare } from "./support/judge.js";

test("Rust and TypeScript agree on every mutated token", { timeout: 120_000 }, async () => {
  const file = process.env.EDGESEAL_MUTATIONS;
  if (!file)
    throw new Error(
      "set EDGESEAL_MUTATIONS to a file made by `cargo run -p edgeseal-testkit --bin mutations -- FILE`",
    );
  const { agreed, accepted, disagreements } = await compare(readFileSync(file, "utf8").split("\n"));
  expect(disagreements.join("\n")).toBe("");
  expect(agreed).toBeGreaterThanOrEqual(20_000);
  expect(accepted).toBeGreaterThanOrEqual(1_000);
});

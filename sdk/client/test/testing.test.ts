import { expect, test, vi } from "vitest";
import { createMockEdgeseal } from "../src/testing.js";

test("gives what it is told to", async () => {
  const edgeseal = createMockEdgeseal({
    checkout: "b",
    search: { variant: "x", payload: { rows: 3 }, isVerified: false },
  });
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toMatchObject({
    variant: "b",
    status: "ready",
    reason: "split",
    isVerified: true,
  });
  expect(edgeseal.get("search")).toMatchObject({ variant: "x", payload: { rows: 3 }, isVerified: false });
  expect(edgeseal.get("none")).toMatchObject({ variant: null, reason: "absent" });
  expect(edgeseal.get("none")).toBe(edgeseal.getForHydration("none"));
});

test("tells of changes", () => {
  const edgeseal = createMockEdgeseal({ checkout: "a" });
  const listener = vi.fn();
  const stop = edgeseal.subscribe(listener);
  edgeseal.set("checkout", { variant: null, reason: "halted", error: "E_HALTED" });
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, reason: "halted", error: "E_HALTED" });
  stop();
  edgeseal.set("checkout", "b");
  expect(listener).toHaveBeenCalledTimes(1);
});

test("remembers what was counted", async () => {
  const edgeseal = createMockEdgeseal({ checkout: "a", off: null });
  const drift = vi.fn();
  edgeseal.on("drift", drift);
  for (const key of ["checkout", "checkout", "off", "none"]) edgeseal.expose(key);
  edgeseal.track("sale");
  edgeseal.track("sale", 9.5);
  await edgeseal.identify("user-2");
  edgeseal.emit("drift", { experiment: "checkout", from: "a", to: "b", cause: "unexplained" });
  expect(edgeseal.exposures).toEqual(["checkout"]);
  expect(edgeseal.tracked).toEqual([
    { metric: "sale", value: 1 },
    { metric: "sale", value: 9.5 },
  ]);
  expect(edgeseal.identified).toEqual(["user-2"]);
  expect(drift).toHaveBeenCalledTimes(1);
});

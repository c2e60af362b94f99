import { act } from "react";
import { expect, test } from "vitest";
import { useFlag } from "../src/index.js";
import { fakeEdgeseal } from "./support/fake.js";
import { render } from "./support/render.js";

function Show({ fallback }: { fallback: unknown }) {
  return <pre>{JSON.stringify(useFlag("flag", fallback))}</pre>;
}

test.each([
  ["the payload", { variant: "on", payload: { size: 3 } }, { size: 3 }],
  ["a payload that is false", { variant: "on", payload: false }, false],
  ["a payload that is 0", { variant: "on", payload: 0 }, 0],
  ["a payload that is empty text", { variant: "on", payload: "" }, ""],
  ["the variant without a payload", { variant: "on", payload: undefined }, "on"],
  ["the variant when the payload is null", { variant: "on", payload: null }, "on"],
  ["the fallback without a variant", { variant: null, payload: undefined }, "fallback"],
])("gives %s", async (_, reading, expected) => {
  const client = fakeEdgeseal();
  client.set("flag", reading);
  const page = await render(client, <Show fallback="fallback" />);
  expect(page.textContent).toBe(JSON.stringify(expected));
});

test("gives the fallback while loading, and counts the exposure of what comes after", async () => {
  const client = fakeEdgeseal();
  const page = await render(client, <Show fallback={7} />);
  expect(page.textContent).toBe("7");
  await act(async () => client.set("flag", { variant: "on", payload: 8 }));
  expect(page.textContent).toBe("8");
  expect(client.exposures).toContain("flag");
});

import { createMockEdgeseal } from "@edgeseal/client/testing";
import { act } from "react";
import { expect, test } from "vitest";
import { useEdgeseal, useExperiment, useFlag, useSuspenseExperiment } from "../src/index.js";
import { render } from "./support/render.js";

function Checkout() {
  const edgeseal = useEdgeseal();
  const { variant } = useExperiment("checkout");
  const { reason } = useSuspenseExperiment("search");
  const label = useFlag("label", "Continue");
  return (
    <button onClick={() => edgeseal.track("purchase")}>{`${variant} ${reason} ${String(label)}`}</button>
  );
}

test("an application's component can be tested with the client's mock", async () => {
  const client = createMockEdgeseal({
    checkout: "b",
    label: { variant: "long", payload: "Continue to payment" },
  });
  const page = await render(client, <Checkout />);
  expect(page.textContent).toBe("b absent Continue to payment");
  expect(client.exposures.sort()).toEqual(["checkout", "label"]);

  await act(async () => page.querySelector("button")?.click());
  expect(client.tracked).toEqual([{ metric: "purchase", value: 1 }]);

  await act(async () => client.set("checkout", { variant: null, reason: "halted" }));
  expect(page.textContent).toBe("null absent Continue to payment");
});

import type { Edgeseal } from "@edgeseal/client";
import { EdgesealProvider, useEdgeseal, useExperiment } from "@edgeseal/react";
import { StrictMode } from "react";

/** What server and browser both render. */
export function Page({ client }: { client: Edgeseal }) {
  return (
    <StrictMode>
      <EdgesealProvider client={client}>
        <h1>Your basket</h1>
        <Checkout />
      </EdgesealProvider>
    </StrictMode>
  );
}

function Checkout() {
  const edgeseal = useEdgeseal();
  const { variant, payload } = useExperiment("checkout-button");
  return (
    <button
      id="checkout"
      data-variant={variant ?? ""}
      style={{ background: payload?.color ?? "#6e7781" }}
      onClick={() => edgeseal.track("purchase")}
    >
      {payload?.label ?? "Continue"}
    </button>
  );
}

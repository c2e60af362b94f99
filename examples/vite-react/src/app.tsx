import { useEdgeseal, useExperiment, useSuspenseExperiment } from "@edgeseal/react";
import { Suspense } from "react";

export function App() {
  return (
    <>
      <h1>Your basket</h1>
      <Checkout />
      <Suspense fallback={<p>Searching…</p>}>
        <Search />
      </Suspense>
      <Onboarding />
    </>
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

/** Worth waiting for: searching twice would cost more. */
function Search() {
  const { payload } = useSuspenseExperiment("search-ranking");
  return <p id="search">Results ranked by {payload?.ranker ?? "bm25"}</p>;
}

function Onboarding() {
  const { payload } = useExperiment("onboarding-flow");
  const steps = payload?.steps ?? ["profile"];
  return <p id="onboarding">To do: {steps.join(", ") || "nothing"}</p>;
}

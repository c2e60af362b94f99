// Written by `edgeseal codegen ts`. Do not edit: run it again when the experiments change.
import "@edgeseal/client";

declare module "@edgeseal/client" {
  interface Register {
    experiments: {
      /** Checkout button */
      "checkout-button": { variant: "control" | "treatment"; payload: { "color": string; "label": string } };
      /** Onboarding flow */
      "onboarding-flow": { variant: "checklist" | "empty-workspace" | "guided-tour"; payload: { "steps": readonly string[] } };
      /** Pricing page */
      "pricing-page": { variant: "control" | "yearly-first" | "yearly-team"; payload: { "billing": string; "highlighted": string } };
      /** Search ranking */
      "search-ranking": { variant: "bm25" | "learned"; payload: { "ranker": string; "recency_boost": number } };
    };
  }
}

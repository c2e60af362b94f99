/** The experiments of this page; `edgeseal codegen ts` writes all of them. */
import "@edgeseal/client";

declare module "@edgeseal/client" {
  interface Register {
    experiments: {
      "checkout-button": {
        variant: "control" | "treatment";
        payload: { label: string; color: string } | undefined;
      };
    };
  }
}

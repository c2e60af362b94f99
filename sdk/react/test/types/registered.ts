/**
 * What the compiler makes of hooks once an application has registered its experiments. Only type-checked, in a
 * program of its own: the registration holds for all of it.
 */
import type { Edgeseal, Reading } from "@edgeseal/client";
import { assignmentQueryOptions, useExperiment, useFlag, useSuspenseExperiment } from "../../src/index.js";

declare module "@edgeseal/client" {
  interface Register {
    experiments: {
      checkout: { variant: "control" | "treatment"; payload: { label: string } };
      search: { variant: "bm25" | "learned"; payload: undefined };
      banner: { variant: "on"; payload: { text: string } | undefined };
    };
  }
}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <_ extends true>() => {};

export function Experiments(client: Edgeseal) {
  const checkout = useExperiment("checkout");
  holds<Equal<typeof checkout.variant, "control" | "treatment" | null>>();
  holds<Equal<typeof checkout.payload, { label: string } | undefined>>();
  const search = useSuspenseExperiment("search", { expose: false });
  holds<Equal<typeof search, Reading<"search">>>();

  // @ts-expect-error -- no such experiment
  useExperiment("chekout");
  // @ts-expect-error -- no such variant
  checkout.variant === "b";

  const { label } = useFlag("checkout", { label: "Continue" });
  holds<Equal<typeof label, string>>();
  const ranker = useFlag("search", "bm25" as const);
  holds<Equal<typeof ranker, "bm25" | "learned">>();
  const text = useFlag("banner", null);
  holds<Equal<typeof text, { text: string } | "on" | null>>();

  const query = assignmentQueryOptions(client, "search").queryFn();
  holds<Equal<typeof query, Promise<Reading<"search">>>>();

  // @ts-expect-error -- no such experiment
  client.expose("chekout");
}

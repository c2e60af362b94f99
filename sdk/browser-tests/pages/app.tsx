// A React application that servers render and browsers hydrate. Its variants differ in size, so that showing one after
// the other shifts what is below.
import { useExperiment } from "@edgeseal/react";

/** Every render of the variant, in order; on the server and in the browser. */
export const renders: string[] = [];

const HEIGHTS: Record<string, number> = { control: 60, treatment: 240 };

export function App({ experiment }: { experiment: string }) {
  const { variant, status } = useExperiment(experiment);
  // As applications do: something to look at until it is known what to show.
  const text = status === "loading" ? "loading" : (variant ?? "default");
  if (renders.at(-1) !== text) renders.push(text);
  return (
    <main>
      <div id="variant" style={{ height: HEIGHTS[text] ?? 20 }}>
        {text}
      </div>
      <p id="below">What must not move.</p>
    </main>
  );
}

// The smallest application: shows the variant of one experiment, and counts the exposure when it does.
import { createEdgeseal } from "@edgeseal/client";
import type { EventMap } from "@edgeseal/client";

import type { Seen } from "./test-config.js";

const { options, experiment } = window.testConfig;
const output = document.querySelector("#variant")!;
const seen: Seen = { shown: [], told: [], verifiedAt: null };
window.seen = seen;

const edgeseal = createEdgeseal(options);
const names: (keyof EventMap)[] = ["drift", "leak", "error", "exposure"];
for (const name of names) {
  edgeseal.on(name, (detail) => seen.told.push({ name, detail: { ...detail } }));
}

function show(): void {
  const { variant, isVerified } = edgeseal.get(experiment);
  const text = variant ?? "default";
  if (seen.shown.at(-1) !== text) seen.shown.push(text);
  if (variant && isVerified) seen.verifiedAt ??= performance.now();
  output.textContent = text;
  if (variant) edgeseal.expose(experiment);
}

edgeseal.subscribe(show);
show();
window.edgeseal = edgeseal;

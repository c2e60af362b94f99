import { createEdgeseal } from "@edgeseal/client";
import type { EventMap } from "@edgeseal/client";
import { EdgesealProvider } from "@edgeseal/react";
import { createRoot, hydrateRoot } from "react-dom/client";

import { App, renders } from "./app.js";

const { options, experiment } = window.testConfig;
const seen = {
  shown: renders,
  told: [] as { name: string; detail: Record<string, unknown> }[],
  verifiedAt: null,
};
window.seen = seen;

const edgeseal = createEdgeseal(options);
const names: (keyof EventMap)[] = ["drift", "leak", "error", "exposure"];
for (const name of names) edgeseal.on(name, (detail) => seen.told.push({ name, detail: { ...detail } }));
window.edgeseal = edgeseal;

const root = document.querySelector("#root")!;
const app = (
  <EdgesealProvider client={edgeseal}>
    <App experiment={experiment} />
  </EdgesealProvider>
);
if (root.hasChildNodes()) {
  // React tells of a hydration mismatch here and nowhere else.
  hydrateRoot(root, app, {
    onRecoverableError: (error) => seen.told.push({ name: "hydration", detail: { error: String(error) } }),
  });
} else {
  createRoot(root).render(app);
}

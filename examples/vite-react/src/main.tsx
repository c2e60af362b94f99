import { createEdgeseal } from "@edgeseal/client";
import { EdgesealProvider } from "@edgeseal/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.js";
import "./style.css";

/** Put in by vite.config.ts. */
declare const EDGESEAL: { edgeUrl: string; environment: string; rootKey: string };

const unit = new URLSearchParams(location.search).get("unit") ?? visitor();
const edgeseal = createEdgeseal({ ...EDGESEAL, unit });

createRoot(document.querySelector("#root")!).render(
  <StrictMode>
    <EdgesealProvider client={edgeseal}>
      <App />
    </EdgesealProvider>
  </StrictMode>,
);

/** Who has no account yet is still the same unit tomorrow. */
function visitor(): string {
  const known = localStorage.getItem("visitor") ?? crypto.randomUUID();
  localStorage.setItem("visitor", known);
  return known;
}

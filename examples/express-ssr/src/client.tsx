import { createEdgeseal, type EdgesealOptions } from "@edgeseal/client";
import { hydrateRoot } from "react-dom/client";
import { Page } from "./page.js";
import "./style.css";

const settings: Pick<EdgesealOptions, "edgeUrl" | "environment" | "rootKey" | "unit"> = JSON.parse(
  document.querySelector("#settings")!.textContent,
);

// Starts from the token that the server embedded, in <script id="edgeseal">.
const edgeseal = createEdgeseal(settings);

hydrateRoot(document.querySelector("#root")!, <Page client={edgeseal} />);

import type { Edgeseal } from "@edgeseal/client";
import { renderToString } from "react-dom/server";
import { Page } from "./page.js";

/** The page's HTML with what `client` says. */
export function render(client: Edgeseal): string {
  return renderToString(<Page client={client} />);
}

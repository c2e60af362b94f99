/** Renders the page with the visitor's variants in it; the browser verifies the same token before it counts anything. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createEdgesealServer } from "@edgeseal/client/server";
import express from "express";
import { settings } from "../settings.js";
import { render } from "./dist/server/render.js";

const { port, ...publicSettings } = settings({ port: 5172 });
const edgeseal = createEdgesealServer(publicSettings);
const browser = new URL("dist/browser/", import.meta.url);
const template = readFileSync(new URL("index.html", browser), "utf8");

const app = express();
app.use(
  "/assets",
  express.static(fileURLToPath(new URL("assets", browser)), { immutable: true, maxAge: "1y" }),
);

app.get("/", async (request, response) => {
  const unit = typeof request.query.unit === "string" ? request.query.unit : visitor(request, response);
  // Never throws and never takes longer than a second: without an edge, visitors get the defaults.
  const { edgeseal: client, script } = await edgeseal.assign({ unit });
  const embedded = script + jsonScript("settings", { ...publicSettings, unit });
  const html = template
    .replace("<!--embedded-->", () => embedded)
    .replace("<!--app-->", () => render(client));
  // The page is this visitor's alone.
  response.set("cache-control", "private, no-store").type("html").send(html);
});

const server = app.listen(port, () => console.log(`http://localhost:${server.address().port}`));

/** Who has no account yet is still the same unit tomorrow. */
function visitor(request, response) {
  const known =
    /(?:^|; )visitor=([\da-f-]{36})(?:;|$)/.exec(request.headers.cookie ?? "")?.[1] ?? randomUUID();
  response.cookie("visitor", known, { httpOnly: true, maxAge: 365 * 24 * 3600 * 1000, sameSite: "lax" });
  return known;
}

function jsonScript(id, value) {
  return `<script type="application/json" id="${id}">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`;
}

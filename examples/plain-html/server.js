/** Serves the page, the client's built files as they are, and the settings; any web server could. */
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { settings } from "../settings.js";

const { port, ...publicSettings } = settings({ port: 5170 });

const folders = {
  edgeseal: new URL(".", import.meta.resolve("@edgeseal/client")),
  noble: new URL(".", import.meta.resolve("@noble/ed25519")),
};

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const [, folder, name] = /^\/(edgeseal|noble)\/([\w-]+\.js)$/.exec(pathname) ?? [];
  if (pathname === "/") sendFile(response, "text/html", new URL("index.html", import.meta.url));
  else if (pathname === "/settings.js") send(response, "text/javascript", settingsModule());
  else if (folder) sendFile(response, "text/javascript", new URL(name, folders[folder]));
  else response.writeHead(404).end();
});

server.listen(port, () => console.log(`http://localhost:${server.address().port}`));

function settingsModule() {
  return Object.entries(publicSettings)
    .map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};\n`)
    .join("");
}

function send(response, type, body) {
  response
    .writeHead(200, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" })
    .end(body);
}

function sendFile(response, type, url) {
  const file = createReadStream(fileURLToPath(url));
  file.once("open", () => {
    response.writeHead(200, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" });
    file.pipe(response);
  });
  file.once("error", () => response.writeHead(404).end());
}

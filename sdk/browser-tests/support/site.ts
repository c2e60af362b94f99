// The application's own server: the built pages, and pages that a test makes itself.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".ndjson": "application/x-ndjson",
};

export interface Answer {
  headers?: Record<string, string>;
  body: string | Buffer;
}

export type Site = Awaited<ReturnType<typeof startSite>>;

/** Serves `folder` on a free port of localhost, another origin than every edge. */
export async function startSite(folder: string) {
  const pages = new Map<string, (url: URL) => Answer | Promise<Answer>>();
  let down = false;

  const server = createServer((incoming, outgoing) => {
    if (down) return void incoming.socket.destroy();
    const url = new URL(incoming.url ?? "/", "http://localhost");
    find(url).then(
      ({ headers, body }) => outgoing.writeHead(200, { ...DEFAULTS, ...headers }).end(body),
      () => outgoing.writeHead(404, DEFAULTS).end("not found"),
    );
  });

  async function find(url: URL): Promise<Answer> {
    const page = pages.get(url.pathname);
    if (page) return page(url);
    const file = normalize(url.pathname).replace(/^(\.\.[/\\])+/, "");
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    return { headers: { "content-type": type }, body: await readFile(join(folder, file)) };
  }

  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,

    /** Answers `path` with what `page` makes of each request. */
    page(path: string, page: (url: URL) => Answer | Promise<Answer>): void {
      pages.set(path, page);
    },

    /** A built page, with more headers than usual. */
    pageWithHeaders(path: string, file: string, headers: Record<string, string>): void {
      pages.set(path, async () => {
        const body = await readFile(join(folder, file));
        return { headers: { "content-type": TYPES[extname(file)]!, ...headers }, body };
      });
    },

    goDown(): void {
      down = true;
      server.closeAllConnections();
    },
    comeBack(): void {
      down = false;
    },

    async stop(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// Pages without an origin of their own (sandboxed ones) load these scripts, too.
const DEFAULTS = { "cache-control": "no-store", "access-control-allow-origin": "*" };

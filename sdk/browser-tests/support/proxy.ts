// Everything between a browser and an edge that can go wrong: answers of another unit, error pages with status 200,
// connections that end in the middle. Also the place that sees what the client sent.
import { createServer, request as ask } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";

/** What a trick may look at. */
export interface Asked {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly at: number;
}

/** What is done instead of passing the request on as it is. */
export interface Trick {
  /** Waits so long before anything else. */
  delayMs?: number;
  /** Never answers. */
  hang?: boolean;
  /** Ends the connection: at once, or after so many bytes of the body. */
  cutAfter?: number;
  /** Asks the edge for another path. */
  path?: string;
  /** Answers this, without asking the edge. */
  answer?: { status?: number; headers?: Record<string, string>; body: string | Buffer };
}

export type Rule = (asked: Asked) => Trick | null | undefined | false;

/** An event as a client sends it. */
export type SentEvent = { id: string; type: string; ts: number } & Record<string, unknown>;
export interface Batch {
  token: string;
  events: SentEvent[];
}

export type Proxy = Awaited<ReturnType<typeof startProxy>>;

export async function startProxy(edgeUrl: string) {
  const asked: Asked[] = [];
  const batches: Batch[] = [];
  const streams = new Set<ServerResponse>();
  let rule: Rule = () => null;
  let down = false;
  /** Pages of an earlier test send what they have when they go away, which may be during the next. */
  let since = 0;

  const server = createServer((incoming, outgoing) => {
    void handle(incoming, outgoing).catch(() => outgoing.destroy());
  });

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (down) return void incoming.socket.destroy();
    const path = incoming.url ?? "/";
    const url = new URL(path, edgeUrl);
    const request = {
      method: incoming.method ?? "GET",
      path,
      url,
      headers: incoming.headers,
      at: Date.now(),
    };
    asked.push(request);
    const body = await read(incoming);
    const trick = rule(request) || {};
    if (trick.delayMs) await new Promise((resolve) => setTimeout(resolve, trick.delayMs));
    if (trick.hang) return;
    if (trick.cutAfter === 0) return void outgoing.destroy();
    if (trick.answer) {
      const { status = 200, headers = {}, body } = trick.answer;
      return void outgoing.writeHead(status, { ...OPEN, ...headers }).end(body);
    }

    const upstream = ask(
      new URL(trick.path ?? path, edgeUrl),
      { method: request.method, headers: { ...incoming.headers, host: url.host } },
      (answer) => {
        const isEvents = url.pathname === "/v1/events";
        // An edge without event intake: the proxy takes its place.
        const missing = isEvents && answer.statusCode === 404;
        if (isEvents && request.method === "POST" && (missing || answer.statusCode === 202)) {
          const { token, events } = JSON.parse(body.toString()) as Batch;
          batches.push({ token, events: events.filter((event) => event.ts >= since) });
        }
        if (missing) {
          answer.resume();
          return void outgoing.writeHead(request.method === "POST" ? 202 : 204, OPEN).end();
        }
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        outgoing.flushHeaders();
        if (answer.headers["content-type"] === "text/event-stream") {
          streams.add(outgoing);
          outgoing.on("close", () => streams.delete(outgoing));
        }
        if (trick.cutAfter) {
          answer.once("data", (chunk: Buffer) =>
            outgoing.write(chunk.subarray(0, trick.cutAfter), () => outgoing.destroy()),
          );
        } else answer.pipe(outgoing);
      },
    );
    upstream.on("error", () => outgoing.destroy());
    outgoing.on("close", () => upstream.destroy());
    upstream.end(body);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,

    /** Every request so far, oldest first. */
    asked,
    requests: (pathname: string, method = "GET") =>
      asked.filter((request) => request.method === method && request.url.pathname.startsWith(pathname)),

    /** Every event that was acknowledged. */
    get events(): SentEvent[] {
      return batches.flatMap((batch) => batch.events);
    },
    batches,

    /** Streams that are open now. */
    get openStreams(): number {
      return streams.size;
    },

    /** From now on, `rule` decides; null: behave. */
    misbehave(next: Rule | null): void {
      rule = next ?? (() => null);
    },

    /** No connection is answered, and those that are open end. */
    goDown(): void {
      down = true;
      server.closeAllConnections();
    },
    comeBack(): void {
      down = false;
    },

    /** Forgets what was asked and sent, and behaves again. */
    reset(): void {
      asked.length = batches.length = 0;
      rule = () => null;
      down = false;
      since = Date.now();
    },

    async stop(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// As the edge's answers say: any page may read them.
const OPEN = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers": "content-type",
  "access-control-allow-methods": "GET, POST",
  "cache-control": "no-store",
};

async function read(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The answers that proxies, captive portals and broken caches really give. */
export const badAnswers: Record<string, (contentType: string, good: string) => Trick> = {
  "an HTML error page with status 200": () => ({
    answer: { headers: { "content-type": "text/html" }, body: "<!doctype html><h1>Please sign in</h1>" },
  }),
  "an HTML error page in the right type": (type) => ({
    answer: { headers: { "content-type": type }, body: "<!doctype html><h1>Please sign in</h1>" },
  }),
  "the right body in the wrong type": (_, good) => ({
    answer: { headers: { "content-type": "text/plain" }, body: good },
  }),
  "truncated gzip": (type, good) => {
    const whole = gzipSync(good);
    return {
      answer: {
        headers: { "content-type": type, "content-encoding": "gzip" },
        body: whole.subarray(0, Math.floor(whole.length / 2)),
      },
    };
  },
  "bytes that are no gzip": (type, good) => ({
    answer: { headers: { "content-type": type, "content-encoding": "gzip" }, body: good },
  }),
  "a body of 5 MB": (type) => ({
    answer: { headers: { "content-type": type }, body: "A".repeat(5_000_000) },
  }),
  "5 MB behind a good document": (type, good) => ({
    answer: { headers: { "content-type": type }, body: good + "A".repeat(5_000_000) },
  }),
  "an empty body": (type) => ({ answer: { headers: { "content-type": type }, body: "" } }),
  "half of a document": (type, good) => ({
    answer: { headers: { "content-type": type }, body: good.slice(0, good.length / 2) },
  }),
  "bytes that are no UTF-8": (type) => ({
    answer: { headers: { "content-type": type }, body: Buffer.from([0xff, 0xfe, 0x00, 0x2e, 0x2e]) },
  }),
  "a connection that ends in the middle": () => ({ cutAfter: 100 }),
  "a connection that ends at once": () => ({ cutAfter: 0 }),
  "status 500": (type, good) => ({ answer: { status: 500, headers: { "content-type": type }, body: good } }),
  "status 404": (type, good) => ({ answer: { status: 404, headers: { "content-type": type }, body: good } }),
  "a redirect to nowhere": () => ({
    answer: { status: 302, headers: { location: "http://127.0.0.1:9/" }, body: "" },
  }),
};

/** An edge made of signed documents and a `fetch`, and what a browser has around a client. */
import { createEdgeseal } from "../../src/edgeseal.js";
import type { Edgeseal, EdgesealOptions, EventMap, KeyValueStorage } from "../../src/types.js";
import { keyset, ROOT_KEY, status, token, type Halts, type KeyName, type Variants } from "./sign.js";

export class MemoryStorage implements KeyValueStorage {
  readonly items = new Map<string, string>();
  /** What it does instead of working. */
  fault: "full" | "denied" | null = null;
  getItem(key: string): string | null {
    if (this.fault === "denied") throw new DOMException("denied", "SecurityError");
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (this.fault) throw new DOMException("full", "QuotaExceededError");
    this.items.set(key, value);
  }
  removeItem(key: string): void {
    if (this.fault === "denied") throw new DOMException("denied", "SecurityError");
    this.items.delete(key);
  }
}

export interface SentEvent {
  id: string;
  type: string;
  ts: number;
  [field: string]: unknown;
}

/** Seconds that the whole world of a test begins at. */
export const START = 1_800_000_000;

export class Edge {
  /** True time, in seconds, and how far the browser's is from it. */
  now = START;
  skew = 0;
  variants: Variants = { checkout: "a" };
  cv = 1;
  ep = 0;
  halts: Halts = {};
  key: KeyName = "edge";
  keysetVersion = 1;
  keys: KeyName[] = ["edge", "control"];
  life = 900;
  /** Each request, `METHOD path?query`. */
  requests: string[] = [];
  batches: { token: string; events: SentEvent[] }[] = [];
  /** Answers instead; undefined lets the edge answer. */
  intercept: (path: string, request: Request) => Promise<Response | undefined> | Response | undefined = () =>
    undefined;

  get events(): SentEvent[] {
    return this.batches.flatMap(({ events }) => events);
  }
  token = (unit: string, more: object = {}) =>
    token(this.now, unit, this.variants, {
      cv: this.cv,
      ep: this.ep,
      key: this.key,
      life: this.life,
      ...more,
    });
  keyset = () => keyset(this.now, this.keysetVersion, this.keys);
  status = () => status(this.now, { ep: this.ep, cv: this.cv, ...this.halts });
  pathsOf = (part: string) => this.requests.filter((line) => line.includes(part));

  fetch: typeof fetch = async (input, init) => {
    const request = new Request(input as string, init);
    const url = new URL(request.url);
    this.requests.push(`${request.method} ${url.pathname}${url.search}`);
    const answer = await this.intercept(url.pathname, request);
    if (answer) return answer;
    const [, , route, unit] = url.pathname.split("/");
    if (route === "assignments")
      return jwt(
        await this.token(decodeURIComponent(unit!), { unitType: url.searchParams.get("ut") ?? "user" }),
      );
    if (route === "keyset") return jwt(await this.keyset());
    if (route === "status") return jwt(await this.status());
    if (route === "events") {
      this.batches.push(await request.json());
      return new Response("{}", { status: 202 });
    }
    return new Response("no", { status: 404 });
  };

  embedded = async (unit: string) => ({
    token: await this.token(unit),
    keyset: await this.keyset(),
    status: await this.status(),
  });
}

export const jwt = (text: string) => new Response(text, { headers: { "content-type": "application/jwt" } });

export interface Heard {
  drift: EventMap["drift"][];
  leak: EventMap["leak"][];
  error: EventMap["error"][];
  exposure: EventMap["exposure"][];
  changes: number;
}

const open: Edgeseal[] = [];

/** A client of `edge`, with what it tells. */
export function client(edge: Edge, options: Partial<EdgesealOptions> = {}): Edgeseal & { heard: Heard } {
  const edgeseal = createEdgeseal({
    environment: "production",
    rootKey: ROOT_KEY,
    unit: "user-1",
    edgeUrl: "https://edge.test",
    initial: null,
    updates: "off",
    storage: null,
    sessionStorage: null,
    fetch: edge.fetch,
    now: () => (edge.now + edge.skew) * 1000,
    ...options,
  });
  open.push(edgeseal);
  const heard: Heard = { drift: [], leak: [], error: [], exposure: [], changes: 0 };
  for (const event of ["drift", "leak", "error", "exposure"] as const)
    edgeseal.on(event, (detail) => (heard[event] as unknown[]).push(detail));
  edgeseal.subscribe(() => heard.changes++);
  return Object.assign(edgeseal, { heard });
}

export const closeAll = () => open.splice(0).forEach((edgeseal) => edgeseal.close());

/** Waits until `check` no longer throws. */
export async function until(check: () => void | Promise<void>, timeoutMs = 2000): Promise<void> {
  const end = performance.now() + timeoutMs;
  for (;;)
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

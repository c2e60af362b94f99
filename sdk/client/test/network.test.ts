/** What may come over the network instead of a token, and how the next one is asked for. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { client, closeAll, Edge, jwt, MemoryStorage, until } from "./support/edge.js";
import { keyset, token } from "./support/sign.js";

afterEach(() => {
  closeAll();
  vi.useRealTimers();
});

const streamOf = (chunks: string[], end: "close" | "error") =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      if (end === "close") controller.close();
      else controller.error(new TypeError("cut"));
    },
  });
const headers = { "content-type": "application/jwt" };

describe("an answer that is no token ends in a code and the default", () => {
  test.each<[string, string, () => Response | Promise<Response>]>([
    [
      "an HTML page with 200",
      "E_MALFORMED",
      () => new Response("<html>", { headers: { "content-type": "text/html" } }),
    ],
    ["no content type", "E_MALFORMED", () => new Response(new Uint8Array([65]))],
    ["HTML that claims to be a token", "E_MALFORMED", () => jwt("<html></html>")],
    ["nothing", "E_MALFORMED", () => jwt("")],
    ["404", "E_HTTP", () => new Response("", { status: 404 })],
    ["500", "E_HTTP", () => new Response("", { status: 500 })],
    ["204", "E_HTTP", () => new Response(null, { status: 204 })],
    ["5 MB", "E_TOO_LARGE", () => jwt("x".repeat(5_000_000))],
    [
      "5 MB in pieces",
      "E_TOO_LARGE",
      () => new Response(streamOf(Array(500).fill("x".repeat(10_000)), "close"), { headers }),
    ],
    ["half an answer", "E_NETWORK", () => new Response(streamOf(["eyJh"], "error"), { headers })],
    ["no connection", "E_NETWORK", () => Promise.reject(new TypeError("fetch failed"))],
    ["a timeout", "E_NETWORK", () => Promise.reject(new DOMException("late", "TimeoutError"))],
  ])("%s: %s", async (_, code, answer) => {
    const edge = new Edge();
    edge.intercept = (path) => (path.includes("assignments") ? answer() : undefined);
    const edgeseal = client(edge);
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({
      variant: null,
      status: "error",
      reason: "error",
      error: code,
    });
    expect(edgeseal.heard.error).toMatchObject([{ code, what: "token" }]);
  });

  test.each<[string, string, (edge: Edge) => Promise<string>]>([
    ["forged", "E_KEY", (edge) => edge.token("user-1", { key: "stranger" })],
    ["changed", "E_SIGNATURE", async (edge) => (await edge.token("user-1")).replace(/.{4}$/, "AAAA")],
    ["ended", "E_EXPIRED", (edge) => token(edge.now - 1000, "user-1", { checkout: "a" })],
    ["early", "E_NOT_YET", (edge) => token(edge.now + 1000, "user-1", { checkout: "a" })],
    ["a status", "E_TYPE", (edge) => edge.status()],
  ])("a token that is %s: %s", async (_, code, make) => {
    const edge = new Edge();
    edge.intercept = async (path) => (path.includes("assignments") ? jwt(await make(edge)) : undefined);
    const edgeseal = client(edge);
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: null, error: code });
  });

  test.each([
    ["no keyset", () => new Response("", { status: 503 }), "E_HTTP"],
    ["HTML", () => new Response("<html>"), "E_MALFORMED"],
    [
      "another root's",
      async () => jwt((await keyset(1_800_000_000)).replace(/.{4}$/, "AAAA")),
      "E_SIGNATURE",
    ],
  ])("a keyset that is %s", async (_, answer, code) => {
    const edge = new Edge();
    edge.intercept = (path) => (path.includes("keyset") ? answer() : undefined);
    const edgeseal = client(edge);
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: null, error: "E_KEY" });
    expect(edgeseal.heard.error[0]).toMatchObject({ code, what: "keyset" });
  });
});

test("a request that gets no answer is given up after a while", async () => {
  const controller = new AbortController();
  vi.spyOn(AbortSignal, "timeout").mockReturnValue(controller.signal);
  const edge = new Edge();
  edge.intercept = (path, request) =>
    path.includes("assignments")
      ? new Promise((_, reject) =>
          request.signal.addEventListener("abort", () => reject(request.signal.reason)),
        )
      : undefined;
  const edgeseal = client(edge);
  await until(() => expect(edge.requests).toHaveLength(2));
  controller.abort(new DOMException("late", "TimeoutError"));
  await edgeseal.ready;
  expect(AbortSignal.timeout).toHaveBeenCalledWith(10_000);
  expect(edgeseal.get("checkout").error).toBe("E_NETWORK");
});

test("a good token is kept through failures and replaced after them", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  edge.intercept = () => new Response("", { status: 500 });
  await edgeseal.refresh();
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", status: "ready", error: null });
});

test("failures are retried later and later, and Retry-After is honoured", async () => {
  const waits: number[] = [];
  const edge = new Edge();
  let after: string | undefined;
  edge.intercept = () => new Response("", { status: 503, headers: after ? { "retry-after": after } : {} });
  const real = setTimeout;
  let go: (() => void) | undefined;
  vi.stubGlobal("setTimeout", (run: () => void, ms = 0) => {
    if (ms < 500) return real(run, ms);
    waits.push(ms / 1000);
    go = run;
    return 0;
  });
  const edgeseal = client(edge);
  await edgeseal.ready;
  for (let i = 0; i < 9; i++) {
    const { length } = waits;
    go!();
    await until(() => expect(waits.length).toBeGreaterThan(length));
  }
  waits.forEach((wait, i) => {
    expect(wait).toBeGreaterThanOrEqual(Math.min(60, 2 ** i));
    expect(wait).toBeLessThanOrEqual(Math.min(60, 2 ** (i + 1)));
  });
  for (const [text, seconds] of [
    ["120", 120],
    ["1000000", 3600],
    ["Fri, 01 Jan 2100 00:00:00 GMT", 3600],
    ["Fri, 01 Jan 1999 00:00:00 GMT", 60],
    ["nonsense", 60],
  ] as const) {
    after = text;
    const { length } = waits;
    go!();
    await until(() => expect(waits.length).toBeGreaterThan(length));
    expect(waits.at(-1)).toBe(seconds);
  }
});

describe("another unit's token", () => {
  test("is dropped, told, and asked for again past every cache", async () => {
    const edge = new Edge();
    const caches: RequestCache[] = [];
    edge.intercept = async (path, request) => {
      if (!path.includes("assignments")) return;
      caches.push(request.cache);
      return request.url.includes("fresh=") ? undefined : jwt(await edge.token("user-2"));
    };
    const edgeseal = client(edge);
    const shown: unknown[] = [];
    edgeseal.subscribe(() => shown.push(edgeseal.get("checkout").variant));
    edge.variants = { checkout: "a" };
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
    expect(caches).toEqual(["default", "reload"]);
    expect(edgeseal.heard.leak).toEqual([
      { subject: expect.any(String), keyId: expect.any(String), source: "network" },
    ]);
    expect(edgeseal.heard.leak[0]!.subject).not.toBe("");
    await edgeseal.flush();
    expect(edge.events.filter(({ type }) => type === "leak")).toMatchObject([edgeseal.heard.leak[0]]);
  });

  test("again is an error, asked for again later", async () => {
    const edge = new Edge();
    edge.intercept = async (path) =>
      path.includes("assignments") ? jwt(await edge.token("user-2")) : undefined;
    const edgeseal = client(edge);
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: null, error: "E_SUBJECT" });
    expect(edge.pathsOf("assignments")).toHaveLength(2);
  });

  test("does not stay in storage", async () => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    const first = client(edge, { storage });
    await first.ready;
    first.close();
    const stored = JSON.parse(storage.getItem("edgeseal:production")!);
    stored.token = await edge.token("user-2");
    storage.setItem("edgeseal:production", JSON.stringify(stored));
    edge.intercept = () => Promise.reject(new TypeError("offline"));
    const edgeseal = client(edge, { storage });
    await edgeseal.ready;
    expect(edgeseal.get("checkout").variant).toBeNull();
    expect(edgeseal.heard.leak).toMatchObject([{ source: "storage" }]);
    expect(storage.getItem("edgeseal:production")).not.toContain(stored.token);
  });
});

test("a new key is fetched when a token names it, and older keysets are ignored", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  Object.assign(edge, {
    key: "edge_published",
    keys: ["edge", "edge_published", "control"],
    keysetVersion: 2,
    cv: 2,
  });
  edge.variants = { checkout: "a", search: "x" };
  await edgeseal.refresh();
  expect(edgeseal.get("search")).toMatchObject({ variant: "x", isVerified: true });
  expect(edge.pathsOf("keyset")).toHaveLength(2);
  Object.assign(edge, { key: "edge_retiring", keys: ["edge_retiring", "control"], keysetVersion: 1, cv: 3 });
  edge.variants = { checkout: "a" };
  await edgeseal.refresh();
  expect(edgeseal.heard.error).toMatchObject([{ code: "E_KEY", what: "token" }]);
  expect(edge.pathsOf("keyset")).toHaveLength(3);
});

test("the newest version that was heard of is part of the URL", async () => {
  const edge = new Edge();
  edge.cv = 7;
  const edgeseal = client(edge);
  await edgeseal.ready;
  await edgeseal.refresh();
  expect(edge.pathsOf("assignments")[1]).toBe("GET /v1/assignments/user-1?ut=user&cv=7");
});

describe("an older token", () => {
  test("is refused, also after a reload, and told as drift", async () => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    edge.cv = 3;
    const first = client(edge, { storage });
    await first.ready;
    edge.cv = 2;
    edge.variants = { checkout: "b" };
    await first.refresh();
    await first.refresh();
    expect(first.get("checkout")).toMatchObject({ variant: "a", driftDetected: true });
    expect(first.heard.error.map(({ code }) => code)).toEqual(["E_ROLLBACK", "E_ROLLBACK"]);
    expect(first.heard.drift).toEqual([{ experiment: "checkout", from: "a", to: "b", cause: "rollback" }]);
    first.close();
    edge.now += 1000;
    const second = client(edge, { storage });
    await second.ready;
    expect(second.get("checkout")).toMatchObject({ variant: null, error: "E_ROLLBACK" });
  });

  test("of another control plane's past does not count", async () => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    storage.setItem(
      "edgeseal:production",
      JSON.stringify({ rootKey: "another", seen: { " cv": 9, " ep": 9, checkout: 9 } }),
    );
    const edgeseal = client(edge, { storage });
    await edgeseal.ready;
    expect(edgeseal.get("checkout").variant).toBe("a");
  });

  test("is refused by what another tab has seen", async () => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    const [one, two] = [client(edge, { storage }), client(edge, { storage })];
    await Promise.all([one.ready, two.ready]);
    edge.cv = 5;
    await one.refresh();
    edge.cv = 1;
    await two.refresh();
    expect(JSON.parse(storage.getItem("edgeseal:production")!).seen[" cv"]).toBe(5);
  });
});

describe("a clock that is wrong", () => {
  test.each([-7200, 7200])("by %i s still verifies what the edge sends", async (skew) => {
    const edge = new Edge();
    edge.skew = skew;
    const edgeseal = client(edge);
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
    expect(edge.pathsOf("status")).toHaveLength(1);
    edgeseal.expose("checkout");
    await edgeseal.flush();
    expect(Math.abs(edge.events[0]!.ts / 1000 - edge.now)).toBeLessThan(60);
    edge.now += 1000;
    expect(edgeseal.get("checkout").error).toBe("E_EXPIRED");
  });

  test.each([-7200, 7200])("by %i s still verifies what is embedded, showing it meanwhile", async (skew) => {
    const edge = new Edge();
    const initial = await edge.embedded("user-1");
    edge.skew = skew;
    const edgeseal = client(edge, { initial });
    const shown = [edgeseal.getForHydration("checkout").variant];
    edgeseal.subscribe(() => shown.push(edgeseal.get("checkout").variant));
    await edgeseal.ready;
    expect(new Set(shown)).toEqual(new Set(["a"]));
    expect(edgeseal.get("checkout").isVerified).toBe(true);
    expect(edge.pathsOf("assignments")).toEqual([]);
  });

  test("a right clock is not moved by an old status", async () => {
    const edge = new Edge();
    edge.intercept = async (path) =>
      path.includes("status")
        ? jwt(await (await import("./support/sign.js")).status(edge.now - 3000))
        : undefined;
    const edgeseal = client(edge, { updates: "poll", pollIntervalMs: 20 });
    await edgeseal.ready;
    await until(() => expect(edge.pathsOf("status").length).toBeGreaterThan(1));
    edge.now += 1000;
    expect(edgeseal.get("checkout").error).toBe("E_EXPIRED");
  });
});

test("close stops everything", async () => {
  const edge = new Edge();
  const edgeseal = client(edge, { updates: "poll", pollIntervalMs: 10 });
  await edgeseal.ready;
  edgeseal.close();
  const { length } = edge.requests;
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(edge.requests.length - length).toBeLessThanOrEqual(1);
});

test("the page asks again when it comes back into view after a while", async () => {
  const target = new EventTarget();
  vi.stubGlobal("document", { visibilityState: "visible", getElementById: () => null });
  vi.stubGlobal("addEventListener", target.addEventListener.bind(target));
  vi.stubGlobal("removeEventListener", target.removeEventListener.bind(target));
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  target.dispatchEvent(new Event("visibilitychange"));
  edge.now += 61;
  target.dispatchEvent(new Event("visibilitychange"));
  await until(() => expect(edge.pathsOf("assignments")).toHaveLength(2));
  edgeseal.close();
  edge.now += 61;
  target.dispatchEvent(new Event("visibilitychange"));
  expect(edge.pathsOf("assignments")).toHaveLength(2);
});

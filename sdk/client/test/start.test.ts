/** Where the first token comes from, and what is shown before and after it. */
import { afterEach, expect, test, vi } from "vitest";
import { client, closeAll, Edge, MemoryStorage, until } from "./support/edge.js";
import { createEdgesealServer } from "../src/server.js";
import type { Embedded } from "../src/types.js";
import { ROOT_KEY, token } from "./support/sign.js";

afterEach(closeAll);

test("asks the edge when there is nothing else", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, status: "loading", reason: "loading" });
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toEqual({
    key: "checkout",
    variant: "a",
    payload: undefined,
    status: "ready",
    isVerified: true,
    driftDetected: false,
    reason: "split",
    error: null,
  });
  expect(edge.requests.sort()).toEqual(["GET /v1/assignments/user-1?ut=user", "GET /v1/keyset"]);
  expect(edgeseal.heard.error).toEqual([]);
});

test("an embedded token needs no request", async () => {
  const edge = new Edge();
  const edgeseal = client(edge, { initial: await edge.embedded("user-1") });
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
  expect(edge.requests).toEqual([]);
});

test("an embedded token is read from its script element", async () => {
  const edge = new Edge();
  const textContent = JSON.stringify(await edge.embedded("user-1"));
  vi.stubGlobal("document", { getElementById: (id: string) => (id === "edgeseal" ? { textContent } : null) });
  const { initial: _, ...rest } = {} as { initial?: undefined };
  const edgeseal = client(edge, { ...rest, initial: "edgeseal" });
  await edgeseal.ready;
  expect(edgeseal.get("checkout").variant).toBe("a");
  expect(edge.requests).toEqual([]);
});

test("a stored token survives a reload without network, until it ends", async () => {
  const edge = new Edge();
  const storage = new MemoryStorage();
  const first = client(edge, { storage });
  await first.ready;
  first.close();
  edge.intercept = () => Promise.reject(new TypeError("offline"));
  edge.now += 600;
  const second = client(edge, { storage });
  await second.ready;
  expect(second.get("checkout")).toMatchObject({ variant: "a", isVerified: true, status: "ready" });
  second.close();
  edge.now += 400;
  const third = client(edge, { storage });
  await third.ready;
  expect(third.get("checkout")).toMatchObject({ variant: null, reason: "error", error: "E_NETWORK" });
});

test("a stored token of another unit or with other attributes is none of ours, and no leak", async () => {
  const edge = new Edge();
  const storage = new MemoryStorage();
  const first = client(edge, { storage });
  await first.ready;
  first.close();
  for (const options of [{ unit: "user-2" }, { attributes: { plan: "pro" } }]) {
    const before = edge.requests.length;
    const edgeseal = client(edge, { storage, ...options });
    await edgeseal.ready;
    expect(edge.requests.slice(before)[0]).toContain("/v1/assignments/");
    expect(edgeseal.heard.leak).toEqual([]);
    edgeseal.close();
  }
});

test.each(["token", "keyset", "status", "seen", "who"])(
  "a tampered %s in storage is refused",
  async (what) => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    const first = client(edge, { storage });
    await first.ready;
    first.close();
    const stored = JSON.parse(storage.getItem("edgeseal:production")!);
    for (const nonsense of [
      "x.y.z",
      5,
      null,
      { a: [] },
      await token(edge.now, "user-1", { checkout: "evil" }, { key: "stranger" }),
    ]) {
      storage.setItem("edgeseal:production", JSON.stringify({ ...stored, [what]: nonsense }));
      const edgeseal = client(edge, { storage });
      await edgeseal.ready;
      expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
      edgeseal.close();
    }
  },
);

test.each(["", "null", "5", "[]", "{", '{"token":5}'])(
  "storage that holds %j is passed over",
  async (text) => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    for (const key of ["edgeseal:production", "edgeseal:production:events"]) storage.setItem(key, text);
    const edgeseal = client(edge, { storage, sessionStorage: storage });
    await edgeseal.ready;
    edgeseal.expose("checkout");
    edgeseal.track("sale", 2);
    await edgeseal.flush();
    await edgeseal.flush();
    expect(edgeseal.get("checkout").variant).toBe("a");
  },
);

test.each(["full", "denied"] as const)("works in memory when storage is %s", async (fault) => {
  const edge = new Edge();
  const storage = new MemoryStorage();
  storage.fault = fault;
  const edgeseal = client(edge, { storage, sessionStorage: storage });
  await edgeseal.ready;
  edgeseal.expose("checkout");
  edgeseal.expose("checkout");
  await edgeseal.flush();
  expect(edgeseal.get("checkout").variant).toBe("a");
  expect(edge.events.map(({ type }) => type)).toEqual(["exposure"]);
});

test("hydration has the server's reading, and get keeps to it until it is verified", async () => {
  const edge = new Edge();
  edge.variants = { checkout: { v: "a", p: { label: "Buy" } }, search: "x" };
  const edgeseal = client(edge, { initial: await edge.embedded("user-1") });
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, reason: "loading" });
  const rendered = edgeseal.getForHydration("checkout");
  expect(rendered).toMatchObject({
    variant: "a",
    payload: { label: "Buy" },
    reason: "split",
    isVerified: true,
    status: "ready",
  });
  const meanwhile = edgeseal.get("checkout");
  expect(meanwhile).toEqual({ ...rendered, isVerified: false, reason: "hydrating" });
  expect(edgeseal.get("checkout")).toBe(meanwhile);
  expect(edgeseal.getForHydration("checkout")).toBe(rendered);
  expect(edgeseal.get("search")).toMatchObject({ variant: null, reason: "loading" });
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toBe(rendered);
  expect(edgeseal.getForHydration("checkout")).toBe(rendered);
});

/** A page from a server that asks `edge`, and the browser that starts from its element, with an edge of its own. */
async function serve(edge: Edge, browserEdge = edge) {
  const { environment, rootKey } = { environment: "production", rootKey: ROOT_KEY };
  const now = () => edge.now * 1000;
  const server = createEdgesealServer({
    environment,
    rootKey,
    edgeUrl: "https://edge.test/",
    fetch: edge.fetch,
    now,
  });
  const page = await server.assign({ unit: "user-1" });
  const textContent = page.script.replace(/<[^>]*>/g, "");
  return {
    server: page.edgeseal,
    browser: client(browserEdge, { initial: JSON.parse(textContent) as Embedded }),
  };
}

test.each<[what: string, change: (edge: Edge) => void]>([
  ["has a variant", () => {}],
  ["knows nothing of it", (edge) => (edge.variants = {})],
  ["has it halted", (edge) => (edge.halts = { off: ["checkout"] })],
  ["has it halted below a version", (edge) => (edge.halts = { min: { checkout: 99 } })],
  ["was answered 503", (edge) => (edge.intercept = () => new Response("", { status: 503 }))],
  ["reached nobody", (edge) => (edge.intercept = () => Promise.reject(new TypeError("offline")))],
])("the first render is the server's in all that a reading says: it %s", async (_, change) => {
  const edge = new Edge();
  change(edge);
  const { server, browser } = await serve(edge);
  const rendered = browser.getForHydration("checkout");
  expect(rendered).toEqual(server.get("checkout"));
  expect(server.getForHydration("checkout")).toBe(server.get("checkout"));
  await browser.ready;
  expect(browser.get("checkout")).toEqual(rendered);
  expect(browser.getForHydration("checkout")).toBe(rendered);
});

test("hydration that begins late still has the server's reading", async () => {
  const edge = new Edge();
  edge.intercept = () => new Response("", { status: 503 });
  const { server, browser } = await serve(edge, new Edge());
  await browser.ready;
  expect(browser.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
  expect(browser.getForHydration("checkout")).toEqual(server.get("checkout"));
  expect(browser.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
});

test("a server that had nothing: the default until a token is verified, without a look of loading", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  const nothing = { variant: null, status: "error", error: "E_NETWORK" };
  expect(edgeseal.getForHydration("checkout")).toMatchObject({ ...nothing, reason: "error" });
  expect(edgeseal.get("checkout")).toMatchObject({ ...nothing, reason: "hydrating" });
  expect(edgeseal.get("search")).toMatchObject({ status: "loading" });
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", status: "ready" });
});

test("exposures of what is hydrated count when it is verified, once", async () => {
  const edge = new Edge();
  edge.variants = { checkout: "a", search: "x" };
  const edgeseal = client(edge, { initial: await edge.embedded("user-1") });
  for (const key of ["checkout", "search"]) edgeseal.getForHydration(key);
  edgeseal.expose("checkout");
  expect(edgeseal.heard.exposure).toEqual([]);
  await edgeseal.ready;
  expect(edgeseal.heard.exposure).toEqual([{ experiment: "checkout", variant: "a" }]);
  edgeseal.expose("checkout");
  expect(edgeseal.heard.exposure).toHaveLength(1);
});

test("what was hydrated from a refused token falls to the default at once, and does not count", async () => {
  const edge = new Edge();
  const initial = { ...(await edge.embedded("user-1")), token: await edge.token("somebody-else") };
  let answer!: () => void;
  const gate = new Promise<undefined>((resolve) => (answer = () => resolve(undefined)));
  edge.variants = { checkout: "b" };
  edge.intercept = () => gate;
  const edgeseal = client(edge, { initial });
  expect(edgeseal.getForHydration("checkout").variant).toBe("a");
  edgeseal.expose("checkout");
  await until(() =>
    expect(edgeseal.get("checkout")).toMatchObject({ variant: null, status: "error", error: "E_SUBJECT" }),
  );
  expect(edgeseal.getForHydration("checkout")).toMatchObject({ variant: null, isVerified: false });
  expect(edgeseal.heard.leak).toMatchObject([{ source: "embedded" }]);
  answer();
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "b", isVerified: true });
  expect(edgeseal.heard.exposure).toEqual([]);
});

test("what was hydrated does not come back for another unit", async () => {
  const edge = new Edge();
  const edgeseal = client(edge, { initial: await edge.embedded("user-1") });
  edgeseal.getForHydration("checkout");
  await edgeseal.ready;
  edge.intercept = () => new Promise<never>(() => {});
  void edgeseal.identify("user-2");
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, reason: "loading" });
  expect(edgeseal.getForHydration("checkout")).toMatchObject({ variant: null, isVerified: false });
});

test("readings are frozen and stay the same object until something in them changes", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  const reading = edgeseal.get("checkout");
  expect(Object.isFrozen(reading)).toBe(true);
  edge.now += 60;
  edge.cv = 2;
  await edgeseal.refresh();
  expect(edgeseal.get("checkout")).toBe(reading);
  edge.now += 2000;
  const expired = edgeseal.get("checkout");
  expect(expired).toMatchObject({ variant: null, status: "error", error: "E_EXPIRED" });
  expect(edgeseal.get("checkout")).toBe(expired);
});

test("an experiment that the token does not name is absent, and that is verified", async () => {
  const edgeseal = client(new Edge());
  await edgeseal.ready;
  for (const key of ["none", "constructor", "__proto__"])
    expect(edgeseal.get(key)).toMatchObject({
      variant: null,
      reason: "absent",
      isVerified: true,
      status: "ready",
    });
});

test.each([
  { unit: "" },
  { unit: "a\u0000b" },
  { unit: "\ud800" },
  { unit: 5 as never },
  { unitType: "no type" },
  { rootKey: "" },
  { rootKey: "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
  { environment: "" },
  { attributes: { big: 1n as never } },
])("unusable options $unit $unitType $rootKey end in a reading", async (options) => {
  const edge = new Edge();
  const edgeseal = client(edge, options);
  await edgeseal.ready;
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, status: "error", error: "E_MALFORMED" });
  expect(edgeseal.heard.error).toMatchObject([{ code: "E_MALFORMED", what: "token" }]);
  edgeseal.expose("checkout");
  edgeseal.track("sale");
  await edgeseal.flush();
  await edgeseal.refresh();
  expect(edge.requests).toEqual([]);
});

test("the edge's URL may end in a slash", async () => {
  const edgeseal = client(new Edge(), { edgeUrl: "https://edge.test/" });
  await edgeseal.ready;
  expect(edgeseal.get("checkout").variant).toBe("a");
});

test("attributes and unit are sent in the one way that the edge reads", async () => {
  const edge = new Edge();
  edge.intercept = (path) => (path.includes("assignments") ? new Response("", { status: 400 }) : undefined);
  await client(edge, { unit: "a/b c", unitType: "device", attributes: { plan: "pro" } }).ready;
  const attrs = Buffer.from('{"plan":"pro"}').toString("base64url");
  expect(edge.pathsOf("assignments")).toEqual([`GET /v1/assignments/a%2Fb%20c?ut=device&attrs=${attrs}`]);
});

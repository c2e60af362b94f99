/** What is counted, and how it gets to the edge. */
import { afterEach, expect, test, vi } from "vitest";
import { uuid7 } from "../src/events.js";
import { client, closeAll, Edge, MemoryStorage, until } from "./support/edge.js";

afterEach(closeAll);

const QUEUE = "edgeseal:production:events";

test("an exposure is counted once a session, for each variant, under the token it came from", async () => {
  const edge = new Edge();
  const [storage, sessionStorage] = [new MemoryStorage(), new MemoryStorage()];
  const first = client(edge, { storage, sessionStorage });
  await first.ready;
  first.expose("checkout");
  first.expose("checkout");
  first.expose("none");
  await first.flush();
  first.close();
  const second = client(edge, { storage, sessionStorage });
  await second.ready;
  second.expose("checkout");
  await second.flush();
  expect(edge.batches).toHaveLength(1);
  expect(edge.batches[0]!.token.split(".")).toHaveLength(3);
  expect(edge.events).toEqual([
    { id: expect.any(String), type: "exposure", ts: edge.now * 1000, experiment: "checkout" },
  ]);
  expect(first.heard.exposure).toEqual([{ experiment: "checkout", variant: "a" }]);
});

test("forced variants, winners and what is not verified are not exposures", async () => {
  const edge = new Edge();
  edge.variants = {
    one: { v: "a", r: "forced" },
    two: { v: "a", r: "winner" },
    three: { v: "a", r: "sticky" },
  };
  const edgeseal = client(edge, { initial: await edge.embedded("user-1") });
  for (const key of ["one", "two", "three"]) edgeseal.expose(key);
  await edgeseal.ready;
  expect(edgeseal.heard.exposure).toEqual([]);
  for (const key of ["one", "two", "three"]) edgeseal.expose(key);
  expect(edgeseal.heard.exposure).toEqual([{ experiment: "three", variant: "a" }]);
});

test("a locked variant is exposed under the token that it is locked to", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  edge.variants = {};
  edge.cv = 2;
  await edgeseal.refresh();
  edgeseal.expose("checkout");
  edgeseal.track("sale");
  await edgeseal.flush();
  const tokenOf = (type: string) =>
    edge.batches.find(({ events }) => events.some((x) => x.type === type))!.token;
  expect(JSON.parse(atob(tokenOf("exposure").split(".")[1]!)).a).toHaveProperty("checkout");
  expect(JSON.parse(atob(tokenOf("metric").split(".")[1]!)).a).toEqual({});
});

test("metrics have a finite value, 1 by default", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  for (const value of [undefined, 2.5, 0, -1, NaN, Infinity, "3" as never]) edgeseal.track("sale", value);
  await edgeseal.flush();
  expect(edge.events.map(({ value }) => value)).toEqual([1, 2.5, 0, -1]);
});

test("what happens before the first token is sent with it", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  edgeseal.track("early");
  await edgeseal.flush();
  expect(edge.batches).toEqual([]);
  await edgeseal.ready;
  await edgeseal.flush();
  expect(edge.events).toMatchObject([{ type: "metric", metric: "early" }]);
});

test("a refusal is reported once a session and code", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  edge.cv = 0;
  await edgeseal.refresh();
  await edgeseal.refresh();
  await edgeseal.flush();
  expect(edge.events).toMatchObject([{ type: "verification_failed", code: "E_ROLLBACK" }]);
});

test.each([404, 429, 500, 503, 200])(
  "after %i events wait and are sent again, also by the next page",
  async (answer) => {
    const edge = new Edge();
    const storage = new MemoryStorage();
    const first = client(edge, { storage });
    await first.ready;
    edge.intercept = (path) => (path === "/v1/events" ? new Response("", { status: answer }) : undefined);
    first.track("sale");
    await first.flush();
    expect(first.heard.error).toMatchObject([{ code: "E_HTTP", what: "events" }]);
    first.close();
    const [waiting] = Object.values(JSON.parse(storage.getItem(QUEUE)!)) as { id: string }[][];
    edge.intercept = () => undefined;
    const second = client(edge, { storage, unit: "user-2" });
    await second.ready;
    await second.flush();
    expect(edge.events.map(({ id }) => id)).toEqual(waiting!.map(({ id }) => id));
    expect(JSON.parse(storage.getItem(QUEUE)!)).toEqual({});
  },
);

test.each([400, 401, 413, 422])("after %i a batch is given up, the one before it is sent", async (answer) => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  let refused = 0;
  edge.intercept = (path) =>
    path === "/v1/events" && !refused++ ? new Response("", { status: answer }) : undefined;
  edgeseal.track("one");
  edge.now += 60;
  edge.cv = 2;
  await edgeseal.refresh();
  edgeseal.track("two");
  await edgeseal.flush();
  await edgeseal.flush();
  expect(edge.events.map(({ metric }) => metric)).toEqual(["one"]);
});

test("batches are bounded, and so is what waits: the oldest are dropped", { timeout: 30_000 }, async () => {
  const edge = new Edge();
  const storage = new MemoryStorage();
  const edgeseal = client(edge, { storage });
  await edgeseal.ready;
  const sizes: number[] = [];
  edge.intercept = async (path, request) => {
    if (path === "/v1/events") sizes.push((await request.clone().text()).length);
    return undefined;
  };
  for (let i = 0; i < 1200; i++) edgeseal.track(i < 1000 ? "m" + i : "long" + i + "x".repeat(600));
  await edgeseal.flush();
  expect(edge.events).toHaveLength(1000);
  expect(edge.events[0]).toMatchObject({ metric: "m200" });
  expect(new Set(edge.events.map(({ id }) => id)).size).toBe(1000);
  expect(Math.max(...edge.batches.map(({ events }) => events.length))).toBe(100);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(48 * 1024);
});

test("an event that happens while a batch is on its way is not lost", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  edgeseal.track("one");
  edge.intercept = (path) => {
    if (path === "/v1/events" && !edge.batches.length) edgeseal.track("two");
    return undefined;
  };
  await edgeseal.flush();
  await edgeseal.flush();
  expect(edge.events.map(({ metric }) => metric)).toEqual(["one", "two"]);
});

test("two tabs send what waits; both doing it sends the same ids", async () => {
  const edge = new Edge();
  const storage = new MemoryStorage();
  const [one, two] = [client(edge, { storage }), client(edge, { storage })];
  await Promise.all([one.ready, two.ready]);
  one.track("one");
  two.track("two");
  await Promise.all([one.flush(), two.flush()]);
  expect(new Set(edge.events.map(({ metric }) => metric))).toEqual(new Set(["one", "two"]));
  expect(new Set(edge.events.map(({ id }) => id)).size).toBe(2);
});

test("the page that goes away sends what waits with keepalive", async () => {
  const target = new EventTarget();
  const document = { visibilityState: "visible", getElementById: () => null };
  vi.stubGlobal("document", document);
  vi.stubGlobal("addEventListener", target.addEventListener.bind(target));
  vi.stubGlobal("removeEventListener", target.removeEventListener.bind(target));
  for (const [type, visibilityState] of [
    ["visibilitychange", "hidden"],
    ["pagehide", "visible"],
  ] as const) {
    const edge = new Edge();
    const requests: Request[] = [];
    edge.intercept = (path, request) => void (path === "/v1/events" && requests.push(request));
    const edgeseal = client(edge);
    await edgeseal.ready;
    edgeseal.expose("checkout");
    Object.assign(document, { visibilityState });
    target.dispatchEvent(new Event(type));
    await until(() => expect(edge.events).toHaveLength(1));
    expect(requests[0]!.keepalive).toBe(true);
    expect(requests[0]!.credentials).toBe("omit");
    expect(requests[0]!.headers.get("content-type")).toBe("application/json");
    edgeseal.close();
  }
});

test("nothing is sent where that is switched off", async () => {
  const edge = new Edge();
  const edgeseal = client(edge, { sendEvents: false });
  await edgeseal.ready;
  edgeseal.expose("checkout");
  edgeseal.track("sale");
  await edgeseal.flush();
  expect(edge.batches).toEqual([]);
  expect(edgeseal.heard.exposure).toHaveLength(1);
});

test("ids are UUIDs of version 7 that begin with the time", () => {
  const id = uuid7(0x0192_3456_789a);
  expect(id).toMatch(/^01923456-789a-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(uuid7(1)).toMatch(/^00000000-0001-7/);
});

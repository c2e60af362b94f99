/** A variant that changes within a session, and units that do. */
import { afterEach, expect, test, vi } from "vitest";
import type { DriftPolicy } from "../src/types.js";
import { client, closeAll, Edge, MemoryStorage } from "./support/edge.js";

afterEach(closeAll);

const changed = async (
  edge: Edge,
  edgeseal: { refresh(): Promise<void> },
  variants: Edge["variants"],
  cv = edge.cv + 1,
) => {
  edge.variants = variants;
  edge.cv = cv;
  await edgeseal.refresh();
};

test("the first variant is kept, and the change told once, with its cause", async () => {
  const edge = new Edge();
  edge.variants = { checkout: { v: "a", p: { label: "Buy" } } };
  const edgeseal = client(edge);
  await edgeseal.ready;
  await changed(edge, edgeseal, { checkout: { v: "b", xv: 2 } });
  await changed(edge, edgeseal, { checkout: { v: "b", xv: 2 } });
  expect(edgeseal.get("checkout")).toMatchObject({
    variant: "a",
    payload: { label: "Buy" },
    reason: "locked",
    driftDetected: true,
    isVerified: true,
    error: null,
  });
  expect(edgeseal.heard.drift).toEqual([
    { experiment: "checkout", from: "a", to: "b", cause: "config_change" },
  ]);
  await edgeseal.flush();
  expect(edge.events).toMatchObject([
    { type: "drift", experiment: "checkout", from: "a", to: "b", cause: "config_change" },
  ]);
});

test("without a new version the change is unexplained", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  await changed(edge, edgeseal, { checkout: "b" }, edge.cv);
  expect(edgeseal.heard.drift).toMatchObject([{ cause: "unexplained" }]);
});

test("an experiment that goes back in its version is a rollback", async () => {
  const edge = new Edge();
  edge.variants = { checkout: { v: "a", xv: 5 } };
  const edgeseal = client(edge, { drift: "accept" });
  await edgeseal.ready;
  await changed(edge, edgeseal, { checkout: { v: "b", xv: 4 } });
  expect(edgeseal.heard.drift).toEqual([{ experiment: "checkout", from: "a", to: null, cause: "rollback" }]);
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, error: "E_ROLLBACK", isVerified: false });
});

test("an experiment that disappears is kept, too", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  await changed(edge, edgeseal, {});
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", reason: "locked" });
  expect(edgeseal.heard.drift).toMatchObject([{ from: "a", to: null, cause: "config_change" }]);
});

test("another version with the same variant is no drift, and its payload is shown", async () => {
  const edge = new Edge();
  edge.variants = { checkout: { v: "a", p: 1 } };
  const edgeseal = client(edge);
  await edgeseal.ready;
  await changed(edge, edgeseal, { checkout: { v: "a", xv: 2, p: 2 } });
  expect(edgeseal.get("checkout")).toMatchObject({
    variant: "a",
    payload: 2,
    reason: "split",
    driftDetected: false,
  });
  expect(edgeseal.heard.drift).toEqual([]);
});

test("an experiment that begins within the session is shown and kept from then on", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  await changed(edge, edgeseal, { checkout: "a", search: "x" });
  await changed(edge, edgeseal, { checkout: "a", search: "y" });
  expect(edgeseal.get("search")).toMatchObject({ variant: "x", reason: "locked" });
  expect(edgeseal.heard.drift).toMatchObject([{ experiment: "search", from: "x", to: "y" }]);
});

test("accepted, the new variant is shown", async () => {
  const edge = new Edge();
  const edgeseal = client(edge, { drift: "accept" });
  await edgeseal.ready;
  await changed(edge, edgeseal, { checkout: "b" });
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "b", reason: "split", driftDetected: true });
  await changed(edge, edgeseal, { checkout: "a" });
  expect(edgeseal.get("checkout").variant).toBe("a");
  expect(edgeseal.heard.drift.map(({ from, to }) => [from, to])).toEqual([
    ["a", "b"],
    ["b", "a"],
  ]);
});

test("reloads at most once for each experiment, and only where that can be remembered", async () => {
  const reload = vi.fn();
  vi.stubGlobal("location", { reload });
  for (const [sessionStorage, times] of [
    [new MemoryStorage(), 1],
    [null, 0],
  ] as const) {
    reload.mockClear();
    const edge = new Edge();
    const edgeseal = client(edge, { drift: "reload", sessionStorage });
    await edgeseal.ready;
    await changed(edge, edgeseal, { checkout: "b" });
    await changed(edge, edgeseal, { checkout: "c" });
    expect(reload).toHaveBeenCalledTimes(times);
    expect(edgeseal.get("checkout").variant).toBe("b");
    edgeseal.close();
  }
});

test("the session's first variant survives a reload, other tabs and a new session do not have it", async () => {
  const edge = new Edge();
  const [storage, sessionStorage] = [new MemoryStorage(), new MemoryStorage()];
  const first = client(edge, { storage, sessionStorage });
  await first.ready;
  await changed(edge, first, { checkout: { v: "b", xv: 2 } });
  first.close();
  const second = client(edge, { storage, sessionStorage });
  await second.ready;
  expect(second.get("checkout")).toMatchObject({ variant: "a", reason: "locked", driftDetected: true });
  await second.refresh();
  expect(second.heard.drift).toEqual([]);
  second.close();
  const third = client(edge, { storage, sessionStorage: new MemoryStorage() });
  await third.ready;
  expect(third.get("checkout")).toMatchObject({ variant: "b", driftDetected: false });
});

test("a session that somebody wrote into locks nothing that was not signed for this unit", async () => {
  const edge = new Edge();
  const sessionStorage = new MemoryStorage();
  const first = client(edge, { sessionStorage });
  await first.ready;
  first.close();
  const [key] = [...sessionStorage.items.keys()];
  expect(key).toMatch(/^edgeseal:production:[\w-]{22}$/);
  edge.variants = { checkout: "evil" };
  for (const jws of [await edge.token("user-2"), await edge.token("user-1", { key: "stranger" }), "x", 5]) {
    sessionStorage.setItem(key!, JSON.stringify([[[jws, edge.now]], []]));
    edge.variants = { checkout: "a" };
    const edgeseal = client(edge, { sessionStorage });
    await edgeseal.ready;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", reason: "split" });
    edgeseal.close();
  }
});

test("what the server has rendered is shown, even where an earlier page showed something else", async () => {
  const edge = new Edge();
  const sessionStorage = new MemoryStorage();
  const first = client(edge, { sessionStorage });
  await first.ready;
  first.close();
  edge.variants = { checkout: "b" };
  edge.cv = 2;
  const second = client(edge, { sessionStorage, initial: await edge.embedded("user-1") });
  expect(second.getForHydration("checkout").variant).toBe("b");
  await second.ready;
  expect(second.get("checkout")).toMatchObject({ variant: "b", driftDetected: true });
  expect(second.heard.drift).toMatchObject([{ from: "a", to: "b", cause: "config_change" }]);
});

test.each<DriftPolicy>(["lock", "accept", "reload"])(
  "another unit has its own variants (%s)",
  async (drift) => {
    const edge = new Edge();
    const edgeseal = client(edge, { drift, sessionStorage: new MemoryStorage() });
    await edgeseal.ready;
    edgeseal.expose("checkout");
    edge.variants = { checkout: "b", search: "x" };
    const shown: unknown[] = [];
    edgeseal.subscribe(() => shown.push(edgeseal.get("checkout").variant));
    const done = edgeseal.identify("user-2");
    expect(edgeseal.get("checkout")).toMatchObject({ variant: null, reason: "loading" });
    await done;
    expect(edgeseal.get("checkout")).toMatchObject({ variant: "b", reason: "split", isVerified: true });
    expect(new Set(shown)).toEqual(new Set([null, "b"]));
    expect(edgeseal.heard.drift).toEqual([
      { experiment: "checkout", from: "a", to: "b", cause: "identity_change" },
    ]);
    expect(edge.pathsOf("assignments")[1]).toContain("/user-2?ut=user");
    edgeseal.expose("checkout");
    await edgeseal.flush();
    expect(edge.events.filter(({ type }) => type === "exposure")).toHaveLength(2);
    expect(new Set(edge.batches.map((batch) => batch.token)).size).toBe(2);
    await changed(edge, edgeseal, { checkout: "c" });
    expect(edgeseal.heard.drift[1]).toMatchObject({ from: "b", to: "c", cause: "config_change" });
  },
);

test("an answer for the unit before comes too late to be shown", async () => {
  const edge = new Edge();
  let release: (() => void) | undefined;
  edge.intercept = (path) =>
    path.endsWith("user-1") ? new Promise((resolve) => (release = () => resolve(undefined))) : undefined;
  const edgeseal = client(edge);
  await vi.waitFor(() => expect(release).toBeDefined());
  edge.variants = { checkout: "b" };
  const done = edgeseal.identify("user-2");
  release!();
  await done;
  await edgeseal.ready;
  expect(edgeseal.get("checkout").variant).toBe("b");
  expect(edgeseal.heard.leak).toEqual([]);
});

test("an unusable unit is an error, and the next usable one is not", async () => {
  const edge = new Edge();
  const edgeseal = client(edge);
  await edgeseal.ready;
  await edgeseal.identify("");
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, error: "E_MALFORMED" });
  await edgeseal.identify("user-3", { unitType: "device", attributes: { plan: "pro" } });
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", error: null });
  expect(edge.requests.at(-1)).toMatch(/user-3\?ut=device&attrs=/);
});

/** Hearing of pauses: by stream, from another tab, by asking. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { client, closeAll, Edge, jwt, MemoryStorage, until } from "./support/edge.js";
import { kidOf, type Halts } from "./support/sign.js";

afterEach(closeAll);

class FakeEventSource extends EventTarget {
  static all: FakeEventSource[] = [];
  readyState = 1;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {
    super();
    FakeEventSource.all.push(this);
  }
  say(data: string) {
    this.dispatchEvent(Object.assign(new Event("status"), { data }));
  }
  close() {
    this.readyState = 2;
  }
}

/** The Web Locks of one browser. */
class FakeLocks {
  #holders: (() => Promise<unknown>)[] = [];
  request = (_: string, { signal }: { signal: AbortSignal }, hold: () => Promise<unknown>) =>
    new Promise((resolve, reject) => {
      const run = () => hold().then((value) => (resolve(value), this.#holders.shift(), this.#holders[0]?.()));
      signal.addEventListener("abort", () => {
        const place = this.#holders.indexOf(run as never);
        if (place > 0) this.#holders.splice(place, 1);
        reject(signal.reason);
      });
      if (this.#holders.push(run as never) === 1) void run();
    });
}

function browser() {
  FakeEventSource.all = [];
  vi.stubGlobal("EventSource", FakeEventSource);
  vi.stubGlobal("navigator", { locks: new FakeLocks() });
}

const streams = () => FakeEventSource.all.filter(({ readyState }) => readyState === 1);
const halted = { variant: null, status: "ready", reason: "halted", error: "E_HALTED", isVerified: true };

async function streaming(edge: Edge, options = {}) {
  browser();
  const edgeseal = client(edge, { updates: "stream", ...options });
  await edgeseal.ready;
  await until(() => expect(streams()).toHaveLength(1));
  const say = async (halts: Halts) => {
    Object.assign(edge, { halts, ...("ep" in halts ? { ep: halts.ep } : {}) });
    streams()[0]!.say(await edge.status());
  };
  return { edgeseal, say };
}

test("a pause takes effect at once, its end too", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge);
  expect(streams()[0]!.url).toBe("https://edge.test/v1/stream");
  expect(edgeseal.get("checkout").variant).toBe("a");
  await say({ ep: 1, off: ["checkout"] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject(halted));
  edgeseal.expose("checkout");
  expect(edgeseal.heard.exposure).toEqual([]);
  await say({ ep: 2, off: [] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", error: null }));
  expect(edgeseal.heard.drift).toEqual([]);
});

test("a version below the lowest valid one is halted, a locked variant too", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge);
  edge.variants = { checkout: { v: "b", xv: 2 } };
  edge.cv = 2;
  await edgeseal.refresh();
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", reason: "locked" });
  await say({ ep: 1, cv: 2, min: { checkout: 2 } });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject(halted));
});

test("a paused experiment that leaves the token is halted, not drifted", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge);
  await say({ ep: 1, off: ["checkout"] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject(halted));
  edge.variants = {};
  edge.cv = 2;
  await edgeseal.refresh();
  expect(edgeseal.get("checkout")).toMatchObject(halted);
  expect(edgeseal.heard.drift).toEqual([]);
});

test("an older status does not end a pause, nor does a forged one", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge);
  await say({ ep: 5, off: ["checkout"] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject(halted));
  await say({ ep: 4, off: [] });
  const status = await edge.status();
  for (const bad of [
    status.replace(/.{4}$/, "AAAA"),
    "x",
    "",
    await edge.token("user-1"),
    "x".repeat(300_000),
  ])
    streams()[0]!.say(bad);
  await until(() => expect(edgeseal.heard.error.length).toBe(5));
  expect(edgeseal.heard.error.every(({ what }) => what === "status")).toBe(true);
  expect(edgeseal.get("checkout")).toMatchObject(halted);
});

test("a pause outlives a reload without network", async () => {
  const edge = new Edge();
  const storage = new MemoryStorage();
  const { edgeseal, say } = await streaming(edge, { storage });
  await say({ ep: 1, off: ["checkout"] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject(halted));
  edgeseal.close();
  edge.intercept = () => Promise.reject(new TypeError("offline"));
  const second = client(edge, { storage });
  await second.ready;
  expect(second.get("checkout")).toMatchObject(halted);
});

test("a newer version is asked for, with its number", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge);
  vi.spyOn(Math, "random").mockReturnValue(0.01);
  edge.variants = { checkout: "a", search: "x" };
  edge.cv = 2;
  await say({ ep: 0, cv: 2 });
  await until(() => expect(edgeseal.get("search").variant).toBe("x"));
  expect(edge.pathsOf("assignments").at(-1)).toContain("cv=2");
});

test("a revoked key's token is dropped and another asked for past the caches", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge);
  edge.keys = ["edge", "edge_published", "control"];
  edge.key = "edge_published";
  edge.keysetVersion = 2;
  edge.variants = { checkout: "b" };
  await say({ ep: 1, rev: [kidOf("edge")] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject({ variant: "b", isVerified: true }));
  expect(edge.pathsOf("assignments").at(-1)).toContain("fresh=");
});

test("what was hydrated does not come back when its key is revoked", async () => {
  const edge = new Edge();
  const { edgeseal, say } = await streaming(edge, { initial: await edge.embedded("user-1") });
  expect(edgeseal.getForHydration("checkout").variant).toBe("a");
  edge.intercept = () => new Promise<never>(() => {});
  await say({ ep: 1, rev: [kidOf("edge")] });
  await until(() => expect(edgeseal.get("checkout")).toMatchObject({ variant: null, isVerified: false }));
  expect(edgeseal.getForHydration("checkout")).toMatchObject({ variant: null, isVerified: false });
  edgeseal.expose("checkout");
  expect(edgeseal.heard.exposure).toEqual([]);
});

test("one stream serves all tabs, and another tab takes it over", async () => {
  const edge = new Edge();
  const { edgeseal: one, say } = await streaming(edge);
  const two = client(edge, { updates: "stream" });
  await two.ready;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(streams()).toHaveLength(1);
  await say({ ep: 1, off: ["checkout"] });
  await until(() => expect([one, two].map((x) => x.get("checkout").reason)).toEqual(["halted", "halted"]));
  one.close();
  await until(() => expect(streams()).toHaveLength(1));
  await say({ ep: 2 });
  await until(() => expect(two.get("checkout").variant).toBe("a"));
  two.close();
  expect(streams()).toHaveLength(0);
});

test("without locks each tab has its own stream", async () => {
  browser();
  vi.stubGlobal("navigator", {});
  const edge = new Edge();
  const [one, two] = [client(edge, { updates: "stream" }), client(edge, { updates: "stream" })];
  await Promise.all([one.ready, two.ready]);
  await until(() => expect(streams()).toHaveLength(2));
});

describe("where there is no stream", () => {
  test.each(["no EventSource", "a stream that fails", "a stream that is refused", "polling"])(
    "%s: asks",
    async (why) => {
      browser();
      if (why === "no EventSource") vi.stubGlobal("EventSource", undefined);
      const edge = new Edge();
      const edgeseal = client(edge, { updates: why === "polling" ? "poll" : "stream", pollIntervalMs: 20 });
      await edgeseal.ready;
      if (why.startsWith("a stream")) {
        await until(() => expect(streams()).toHaveLength(1));
        const [stream] = streams();
        if (why.endsWith("refused")) stream!.readyState = 2;
        stream!.onerror!();
      }
      edge.ep = 1;
      edge.halts = { off: ["checkout"] };
      await until(() => expect(edgeseal.get("checkout")).toMatchObject(halted));
      if (why.endsWith("refused")) expect(FakeEventSource.all.length).toBeGreaterThan(1);
      edgeseal.close();
    },
  );

  test("answers that are no status are told and change nothing", async () => {
    const edge = new Edge();
    const edgeseal = client(edge, { updates: "poll", pollIntervalMs: 10 });
    await edgeseal.ready;
    const answers = [
      () => new Response("<html>"),
      () => jwt("x".repeat(5_000_000)),
      () => new Response("", { status: 500 }),
      () => Promise.reject(new TypeError("offline")),
    ];
    edge.intercept = (path) => (path.includes("status") ? answers.shift()?.() : undefined);
    await until(() => expect(answers).toEqual([]));
    await until(() =>
      expect(edgeseal.heard.error.map(({ code, what }) => `${what} ${code}`)).toEqual([
        "status E_MALFORMED",
        "status E_TOO_LARGE",
        "status E_HTTP",
        "status E_NETWORK",
      ]),
    );
    expect(edgeseal.get("checkout").variant).toBe("a");
  });
});

import { expect, test } from "vitest";
import { verifyKeyset } from "../src/keyset.js";
import { createEdgesealServer, type EdgesealServerOptions } from "../src/server.js";
import { subjectTag } from "../src/subject.js";
import { verifyAssignmentToken } from "../src/verify.js";
import { Edge } from "./support/edge.js";
import { ROOT_KEY } from "./support/sign.js";

function serve(edge: Edge, options: Partial<EdgesealServerOptions> = {}) {
  return createEdgesealServer({
    environment: "production",
    rootKey: ROOT_KEY,
    edgeUrl: "https://edge.test",
    fetch: edge.fetch,
    now: () => edge.now * 1000,
    ...options,
  });
}

test("a page is rendered with verified readings, and embeds what the browser can verify again", async () => {
  const edge = new Edge();
  edge.variants = { checkout: { v: "b", p: { label: "Buy" } } };
  const { embedded, edgeseal } = await serve(edge).assign({ unit: "user-1" });

  const reading = {
    key: "checkout",
    variant: "b",
    payload: { label: "Buy" },
    status: "ready",
    isVerified: true,
  };
  expect(edgeseal.get("checkout")).toMatchObject({ ...reading, reason: "split", error: null });
  expect(edgeseal.getForHydration("checkout")).toBe(edgeseal.get("checkout"));
  expect(edgeseal.get("search")).toMatchObject({ variant: null, reason: "absent", isVerified: true });

  const x = { environment: "production", now: edge.now };
  const keyset = await verifyKeyset(embedded!.keyset, { ...x, rootKey: ROOT_KEY });
  const subject = await subjectTag("production", "user", "user-1");
  for (const who of [{ subject }, { unit: "user-1" }, { unit: "user-1", unitType: "user" }]) {
    const token = await verifyAssignmentToken(embedded!.token, { ...x, ...who, keyset });
    expect(token.assignments.get("checkout")?.variant).toBe("b");
  }
  for (const who of [{ unit: "user-2" }, { unit: "user-1", unitType: "device" }])
    await expect(verifyAssignmentToken(embedded!.token, { ...x, ...who, keyset })).rejects.toMatchObject({
      code: "E_SUBJECT",
    });
  const nobody = verifyAssignmentToken(embedded!.token, { ...x, keyset } as never);
  await expect(nobody).rejects.toMatchObject({ code: "E_MALFORMED" });
});

test("the edge's URL may end in a slash", async () => {
  const edge = new Edge();
  await serve(edge, { edgeUrl: "https://edge.test/" }).assign({ unit: "user-1" });
  expect(edge.pathsOf("assignments")).toEqual(["GET /v1/assignments/user-1?ut=user"]);
});

test("attributes and the unit type are asked with", async () => {
  const edge = new Edge();
  await serve(edge).assign({ unit: "a b/ü", unitType: "device", attributes: { plan: "pro" } });
  const attrs = Buffer.from('{"plan":"pro"}').toString("base64url");
  expect(edge.pathsOf("assignments")).toEqual([
    `GET /v1/assignments/a%20b%2F%C3%BC?ut=device&attrs=${attrs}`,
  ]);
});

test("the element cannot be left from inside, and carries a nonce", async () => {
  const edge = new Edge();
  const server = serve(edge);
  const { script, embedded } = await server.assign({ unit: "user-1", nonce: 'a"b' });
  expect(script).toMatch(
    /^<script type="application\/json" id="edgeseal" nonce="a&quot;b">\{[^<]*<\/script>$/,
  );
  expect(JSON.parse(script.replace(/<[^>]*>/g, ""))).toEqual(embedded);

  edge.intercept = (path) =>
    path.includes("assignments")
      ? new Response("</script><script>alert(1)</script>", { headers: { "content-type": "application/jwt" } })
      : undefined;
  const refused = await server.assign({ unit: "user-1" });
  expect(refused.script).toMatch(/^<script [^>]*>\{"error":"E_MALFORMED"\}<\/script>$/);
});

test("keyset and status are kept, and asked for again when they get old", async () => {
  const edge = new Edge();
  const server = serve(edge);
  const assign = () => server.assign({ unit: "user-1" });
  await assign();
  await assign();
  expect(edge.pathsOf("/keyset")).toHaveLength(1);
  expect(edge.pathsOf("/status")).toHaveLength(1);

  edge.now += 11;
  edge.halts = { off: ["checkout"] };
  edge.ep = 1;
  await assign();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(edge.pathsOf("/status")).toHaveLength(2);
  const { edgeseal } = await assign();
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, reason: "halted", error: "E_HALTED" });
});

test("a halt holds when the edge is silent about it later", async () => {
  const edge = new Edge();
  edge.halts = { off: ["checkout"] };
  const server = serve(edge);
  await server.assign({ unit: "user-1" });
  edge.intercept = (path) => (path.endsWith("/status") ? new Response("", { status: 500 }) : undefined);
  edge.now += 300;
  const { edgeseal } = await server.assign({ unit: "user-1" });
  expect(edgeseal.get("checkout")).toMatchObject({ variant: null, reason: "halted" });
});

test("a key that is newer than the keyset makes the server ask for the keyset", async () => {
  const edge = new Edge();
  const server = serve(edge);
  await server.assign({ unit: "user-1" });
  edge.key = "edge_published";
  edge.keys = ["edge", "edge_published", "control"];
  edge.keysetVersion = 2;
  const { edgeseal } = await server.assign({ unit: "user-1" });
  expect(edgeseal.get("checkout").variant).toBe("a");
  expect(edge.pathsOf("/keyset")).toHaveLength(2);
});

test("another unit's token is asked for once more past the cache, and never rendered", async () => {
  const edge = new Edge();
  const foreign = await edge.token("user-2");
  const swap = (times: number) => (path: string) =>
    path.includes("assignments") && times-- > 0
      ? new Response(foreign, { headers: { "content-type": "application/jwt" } })
      : undefined;
  edge.intercept = swap(1);
  const { edgeseal } = await serve(edge).assign({ unit: "user-1" });
  expect(edgeseal.get("checkout")).toMatchObject({ variant: "a", isVerified: true });
  expect(edge.pathsOf("fresh=")).toHaveLength(1);

  edge.intercept = swap(2);
  const leaked = await serve(edge).assign({ unit: "user-1" });
  expect(leaked.embedded).toBeNull();
  expect(leaked.edgeseal.get("checkout")).toMatchObject({ variant: null, error: "E_SUBJECT" });
});

const html = { headers: { "content-type": "text/html" } };
const jwt = { headers: { "content-type": "application/jwt" } };
test.each<[what: string, code: string, answer: () => Promise<Response>]>([
  ["nobody answers", "E_NETWORK", () => Promise.reject(new TypeError("fetch failed"))],
  ["nothing comes", "E_NETWORK", () => new Promise(() => {})],
  ["the edge fails", "E_HTTP", async () => new Response("", { status: 503 })],
  ["an error page comes", "E_MALFORMED", async () => new Response("<h1>Welcome</h1>", html)],
  ["no token comes", "E_MALFORMED", async () => new Response("<h1>Welcome</h1>", jwt)],
  ["too much comes", "E_TOO_LARGE", async () => new Response("x".repeat(5_000_000), jwt)],
])("when %s, the page has the defaults and says %s", async (what, code, answer) => {
  const edge = new Edge();
  edge.intercept = answer;
  const timeoutMs = what === "nothing comes" ? 100 : 10_000;
  const { embedded, script, edgeseal } = await serve(edge, { timeoutMs }).assign({ unit: "user-1" });
  expect(embedded).toBeNull();
  expect(JSON.parse(script.replace(/<[^>]*>/g, ""))).toEqual({ error: code });
  const nothing = { variant: null, status: "error", reason: "error", isVerified: false, error: code };
  expect(edgeseal.get("checkout")).toMatchObject(nothing);
});

test.each([{ unit: "" }, { unit: "a\0b" }, { unit: "x", unitType: "a b" }])(
  "what is no unit has the defaults: %j",
  async (request) => {
    const { edgeseal } = await serve(new Edge()).assign(request);
    expect(edgeseal.get("checkout")).toMatchObject({ variant: null, error: "E_MALFORMED" });
  },
);

test("what it gives counts nothing and never changes", async () => {
  const edge = new Edge();
  const { edgeseal } = await serve(edge).assign({ unit: "user-1" });
  edgeseal.expose("checkout");
  edgeseal.track("sale", 5);
  await Promise.all([edgeseal.ready, edgeseal.refresh(), edgeseal.flush(), edgeseal.identify("user-2")]);
  edgeseal.subscribe(() => {})();
  edgeseal.on("change", () => {})();
  edgeseal.close();
  expect(edge.batches).toEqual([]);
  expect(edge.pathsOf("assignments")).toHaveLength(1);
});

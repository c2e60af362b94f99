import { readFileSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { check, codeOf, type Vectors } from "./support/judge.js";

const vectors: Vectors = JSON.parse(
  readFileSync(new URL("../../../vectors/sealing.json", import.meta.url), "utf8"),
);

/** As in Chrome before 137. */
const withoutEd25519 = () =>
  vi.spyOn(crypto.subtle, "importKey").mockRejectedValue(new DOMException("no", "NotSupportedError"));

afterEach(() => vi.restoreAllMocks());

test("where WebCrypto has no Ed25519, the other implementation says the same of every vector", async () => {
  const missing = withoutEd25519();
  for (const x of [...vectors.good, ...vectors.bad])
    if (x.kind !== "snapshot")
      expect(await codeOf(check(vectors, x)), x.name).toBe(x.expected_error ?? "accepted");
  expect(missing).toHaveBeenCalled();
}, 60_000);

test("without either, nothing is believed", async () => {
  withoutEd25519();
  vi.doMock("../src/fallback.js", () => Promise.reject(new Error("cannot find module")));
  vi.resetModules();
  const fresh = await import("./support/judge.js");
  const plain = vectors.good.find(({ kind }) => kind === "keyset")!;
  expect(await fresh.codeOf(fresh.check(vectors, plain))).toBe("E_KEY");
  vi.doUnmock("../src/fallback.js");
});

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../src/base64url.js";
import { verifier } from "../src/ed25519.js";
import { keyId, type Keyset } from "../src/keyset.js";
import type { Status } from "../src/status.js";
import { subjectTag } from "../src/subject.js";
import { readToken, type VerifiedToken } from "../src/verify.js";
import { peek } from "../src/jws.js";
import { verifyKeyset } from "../src/keyset.js";
import {
  check,
  codeOf,
  outcome,
  wordsOfKeyset,
  wordsOfStatus,
  wordsOfToken,
  type Vectors,
} from "./support/judge.js";

const vectors: Vectors = JSON.parse(
  readFileSync(new URL("../../../vectors/sealing.json", import.meta.url), "utf8"),
);
const browsers = (cases: Vectors["good"]) => cases.filter((x) => x.kind !== "snapshot");

describe("good tokens are accepted and say what they should", () => {
  const cases = browsers(vectors.good);
  test("there are enough of them", () => expect(cases.length).toBeGreaterThanOrEqual(55));

  test.each(cases)("$kind: $name", async (x) => {
    const verified = await check(vectors, x);
    for (const [experiment, expected] of Object.entries(x.usable ?? {}))
      expect(outcome(verified as VerifiedToken, experiment), experiment).toBe(expected);
    if (x.claims) expect(claimsOf(verified, x.claims)).toEqual(x.claims);
  });
});

describe("bad tokens are refused with their code", () => {
  const cases = browsers(vectors.bad);
  test("there are enough of them", () => expect(cases.length).toBeGreaterThanOrEqual(180));

  test.each(cases)("$name: $expected_error", async (x) => {
    expect(await codeOf(check(vectors, x))).toBe(x.expected_error);
  });
});

test.each(vectors.subject_tags)("the tag of $unit_type $unit in $environment", async (x) => {
  expect(await subjectTag(x.environment, x.unit_type, x.unit)).toBe(x.tag);
});

test.each([...vectors.thumbprints, { x: vectors.rfc8037.public_key, kid: vectors.rfc8037.kid }])(
  "$x is called $kid",
  async ({ x, kid }) => {
    expect(await keyId(x)).toBe(kid);
    expect(() => verifier(decode(x))).not.toThrow();
  },
);

test.each(vectors.bad_public_keys)("refuses a root key that is $why: $x", async ({ x }) => {
  const { environment, token, now } = vectors.good.find(({ kind }) => kind === "keyset")!;
  expect(await codeOf(verifyKeyset(token, { environment, rootKey: x, now }))).toBe("E_MALFORMED");
});

test("the example of RFC 8037 verifies, and not when changed", async () => {
  const { public_key, signed, signature } = vectors.rfc8037;
  const verify = verifier(decode(public_key));
  const bytes = new TextEncoder().encode(signed);
  expect(await verify(bytes, decode(signature))).toBe(true);
  bytes[0]! ^= 1;
  expect(await verify(bytes, decode(signature))).toBe(false);
});

test("unverified reading gives what a good token says and null for what is none", () => {
  const { token, unit_type, environment } = vectors.good[0]!;
  const tag = vectors.subject_tags.find((x) => x.unit === "user-1" && x.environment === environment)!;
  expect(unit_type).toBe(tag.unit_type);
  const claims = peek(token, readToken)!;
  expect(claims.subject).toBe(tag.tag);
  expect(claims.assignments.get("checkout")).toMatchObject({ variant: "treatment", version: 3 });
  for (const bad of ["", "a.b.c", token.replace(".", ".x"), null as never, {} as never])
    expect(peek(bad, readToken)).toBeUndefined();
});

/** The claims back from what was made of them, in the words of the wire. */
function claimsOf(verified: unknown, expected: Record<string, unknown>): Record<string, unknown> {
  if ("off" in expected) return wordsOfStatus(verified as Status);
  if ("keys" in expected) {
    const keyset = wordsOfKeyset(verified as Keyset);
    const given = new Map((expected.keys as { kid: string }[]).map((key) => [key.kid, key]));
    return {
      ...keyset,
      keys: (keyset.keys as { kid: string }[]).map((key) => ({ ...given.get(key.kid), ...key })),
    };
  }
  return { iss: expected.iss, aud: expected.aud, ...wordsOfToken(verified as VerifiedToken) };
}

test("base64url has one spelling for each text", () => {
  expect(encode(decode("AP-_"))).toBe("AP-_");
  for (const bad of ["A", "AB", "AA==", "+/+/", "AA AA", "AAAA\n", "é"])
    expect(() => decode(bad), bad).toThrow();
});

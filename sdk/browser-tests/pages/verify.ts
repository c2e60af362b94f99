// Verification in the browser, for the shared vectors and for measuring.
import {
  createEdgeseal,
  subjectTag,
  verifyAssignmentToken,
  verifyKeyset,
  verifyStatus,
} from "@edgeseal/client";
import type { EdgesealOptions, Embedded } from "@edgeseal/client";

import { check, codeOf, compare, outcome } from "../../client/test/support/judge.js";
import type { Case, Vectors } from "../../client/test/support/judge.js";
import type { VerifiedToken } from "../../client/src/verify.js";

/** What a case should have said and did not. */
export interface Disagreement {
  name: string;
  expected: string;
  actual: string;
}

export interface Judged {
  cases: number;
  disagreements: Disagreement[];
}

async function judgeVectors(vectors: Vectors): Promise<Judged> {
  const cases = [...vectors.good, ...vectors.bad].filter((x) => x.kind !== "snapshot");
  const disagreements: Disagreement[] = [];
  for (const x of cases) {
    const expected = x.expected_error ?? "accepted";
    const actual = await codeOf(check(vectors, x));
    if (actual !== expected) disagreements.push({ name: x.name, expected, actual });
    else if (actual === "accepted") disagreements.push(...(await usable(vectors, x)));
  }
  for (const x of vectors.subject_tags) {
    const actual = await subjectTag(x.environment, x.unit_type, x.unit);
    if (actual !== x.tag) disagreements.push({ name: `tag of ${x.unit}`, expected: x.tag, actual });
  }
  const { environment, token, now } = vectors.good.find(({ kind }) => kind === "keyset")!;
  for (const { x, why } of vectors.bad_public_keys) {
    const actual = await codeOf(verifyKeyset(token, { environment, rootKey: x, now }));
    if (actual !== "E_MALFORMED") disagreements.push({ name: why, expected: "E_MALFORMED", actual });
  }
  return {
    cases: cases.length + vectors.subject_tags.length + vectors.bad_public_keys.length,
    disagreements,
  };
}

/** The mutated tokens at `url`, one JSON document a line, against what Rust said of them. */
async function judgeMutations(url: string): ReturnType<typeof compare> {
  return compare((await (await fetch(url)).text()).split("\n"));
}

async function usable(vectors: Vectors, x: Case): Promise<Disagreement[]> {
  const token = (await check(vectors, x)) as VerifiedToken;
  return Object.entries(x.usable ?? {})
    .map(([experiment, expected]) => ({
      name: `${x.name}: ${experiment}`,
      expected,
      actual: outcome(token, experiment),
    }))
    .filter(({ expected, actual }) => expected !== actual);
}

export interface Workload {
  environment: string;
  rootKey: string;
  keyset: string;
  status: string;
  /** Distinct tokens. The first `warmUp` are not measured. */
  tokens: { unit: string; token: string }[];
  warmUp: number;
}

/** Milliseconds of each verification, ours and the engine's alone, one after the other on the same bytes. */
export interface Measured {
  ours: number[];
  bare: number[];
}

async function measureVerification(workload: Workload): Promise<Measured> {
  const { environment, rootKey } = workload;
  const now = Date.now() / 1000;
  const keyset = await verifyKeyset(workload.keyset, { environment, rootKey, now });
  const status = await verifyStatus(workload.status, { environment, keyset, now });
  const [header, claims] = workload.tokens[0]!.token.split(".").map(readJson) as [{ kid: string }, unknown];
  if (!claims) throw new Error("no claims");
  const bareKey = await importKey(workload.keyset, header.kid);
  const encoder = new TextEncoder();

  const measured: Measured = { ours: [], bare: [] };
  for (const [at, { unit, token }] of workload.tokens.entries()) {
    const subject = await subjectTag(environment, "user", unit);
    const end = token.lastIndexOf(".");
    const [message, signature] = [encoder.encode(token.slice(0, end)), bytesOf(token.slice(end + 1))];

    const begun = performance.now();
    const verified = await verifyAssignmentToken(token, { environment, subject, keyset, status, now });
    const between = performance.now();
    const holds = await crypto.subtle.verify("Ed25519", bareKey, signature, message);
    const ended = performance.now();
    if (verified.subject !== subject || !holds) throw new Error(`${unit} does not verify`);
    if (at >= workload.warmUp) {
      measured.ours.push(between - begun);
      measured.bare.push(ended - between);
    }
  }
  return measured;
}

async function importKey(keyset: string, kid: string): Promise<CryptoKey> {
  const { keys } = readJson(keyset.split(".")[1]!) as { keys: { kid: string; x: string }[] };
  const { x } = keys.find((key) => key.kid === kid)!;
  return crypto.subtle.importKey("raw", bytesOf(x), "Ed25519", false, ["verify"]);
}

const bytesOf = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

function readJson(text: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytesOf(text)));
  } catch {
    return null;
  }
}

/** Nanoseconds of one read, in each of several rounds, of a client that has verified its token. */
async function measureReads(
  options: EdgesealOptions & { initial: Embedded },
  key: string,
): Promise<number[]> {
  const edgeseal = createEdgeseal(options);
  await edgeseal.ready;
  if (!edgeseal.get(key).isVerified) throw new Error("the embedded token did not verify");
  const rounds: number[] = [];
  const READS = 200_000;
  let variants = 0;
  for (let round = 0; round < 20; round++) {
    const begun = performance.now();
    for (let n = 0; n < READS; n++) if (edgeseal.get(key).variant) variants++;
    rounds.push(((performance.now() - begun) * 1e6) / READS);
  }
  edgeseal.close();
  if (variants !== READS * 20) throw new Error("the variant came and went");
  return rounds;
}

declare global {
  interface Window {
    verification: {
      judgeVectors: typeof judgeVectors;
      judgeMutations: typeof judgeMutations;
      measureVerification: typeof measureVerification;
      measureReads: typeof measureReads;
    };
  }
}
window.verification = { judgeVectors, judgeMutations, measureVerification, measureReads };

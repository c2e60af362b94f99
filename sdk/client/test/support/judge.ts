/** What this package says of the cases of `vectors/sealing.json` and of mutated tokens. No Node in it: also run in Chromium. */
import { EdgesealError } from "../../src/errors.js";
import { verifyKeyset, type Keyset } from "../../src/keyset.js";
import { verifyStatus, type Status } from "../../src/status.js";
import { subjectTag } from "../../src/subject.js";
import { verifyAssignmentToken, type Memory, type VerifiedToken } from "../../src/verify.js";

export interface Case {
  name: string;
  kind: "assignment" | "keyset" | "snapshot" | "status";
  token: string;
  environment: string;
  root_public_key: string;
  keyset: string;
  status: string | null;
  memory: Partial<Memory> | null;
  now: number;
  unit: string;
  unit_type?: string;
  claims?: Record<string, unknown>;
  usable?: Record<string, string>;
  experiment?: string;
  expected_error?: string;
}

export interface Vectors {
  good: Case[];
  bad: Case[];
  bad_public_keys: { x: string; why: string }[];
  keysets: Record<string, string>;
  statuses: Record<string, string>;
  subject_tags: { environment: string; unit_type: string; unit: string; tag: string }[];
  thumbprints: { x: string; kid: string }[];
  rfc8037: { public_key: string; kid: string; signed: string; signature: string };
  keys: Record<string, { kid: string; public_key: string; seed: string }>;
}

/** When the vectors' keysets and statuses were signed. */
export const SIGNED_AT = 1_800_000_000;

/** The code of a refusal; throws what is none. */
export async function codeOf(verdict: Promise<unknown>): Promise<string> {
  try {
    await verdict;
    return "accepted";
  } catch (error) {
    if (error instanceof EdgesealError) return error.code;
    throw error;
  }
}

export const outcome = (token: VerifiedToken, experiment: string): string =>
  token.refused.get(experiment) ?? (token.assignments.has(experiment) ? "ok" : "absent");

/** Checks a case as what it claims to be. Snapshots are for edges: a browser knows none. */
export async function check(vectors: Vectors, x: Case): Promise<unknown> {
  const { environment, now, root_public_key: rootKey } = x;
  if (x.kind === "keyset") return verifyKeyset(x.token, { environment, rootKey, now });
  const keyset = await keysetOf(vectors, x);
  if (x.kind === "status") return verifyStatus(x.token, { environment, keyset, now });
  const status =
    x.status === null
      ? null
      : await verifyStatus(vectors.statuses[x.status]!, { environment, keyset, now: SIGNED_AT });
  const memory = x.memory && { cv: 0, ep: 0, xv: {}, ...x.memory };
  const subject = await subjectTag(environment, x.unit_type ?? "user", x.unit);
  const token = await verifyAssignmentToken(x.token, { environment, subject, keyset, status, memory, now });
  if (x.experiment && token.refused.has(x.experiment))
    throw new EdgesealError(token.refused.get(x.experiment)!, x.experiment);
  return token;
}

const keysetOf = (vectors: Vectors, x: Case): Promise<Keyset> =>
  verifyKeyset(vectors.keysets[x.keyset]!, {
    environment: x.keyset === "staging" ? "staging" : "production",
    rootKey: x.root_public_key,
    now: SIGNED_AT,
  });

/** The first line of the file that `cargo run -p edgeseal-testkit --bin mutations` writes. */
export interface World {
  environment: string;
  rootKey: string;
  signedAt: number;
  keysets: Record<string, string>;
  statuses: Record<string, string>;
}

/** Any other line: what Rust says of a mutated token. */
export interface Mutation {
  kind: "assignment" | "keyset" | "status";
  how: string;
  token: string;
  now: number;
  atRest?: boolean;
  unit: string;
  unitType: string;
  keyset: string;
  status: string | null;
  memory: Memory | null;
  code?: string;
  says?: Record<string, unknown>;
  refused?: Record<string, string>;
}

/** Judges mutations as Rust did; gives an account of the first few on which the two disagree, and how many agree. */
export async function compare(
  lines: string[],
): Promise<{ agreed: number; accepted: number; disagreements: string[] }> {
  const world: World = JSON.parse(lines[0]!);
  const { environment, rootKey, signedAt: now } = world;
  const keysets: Record<string, Keyset> = {};
  for (const [name, jws] of Object.entries(world.keysets))
    keysets[name] = await verifyKeyset(jws, {
      environment: name === "current" ? environment : name,
      rootKey,
      now,
    });
  const statuses: Record<string, Status> = {};
  for (const [name, jws] of Object.entries(world.statuses))
    statuses[name] = await verifyStatus(jws, { environment, keyset: keysets.current!, now });

  const judge = async (x: Mutation): Promise<Pick<Mutation, "code" | "says" | "refused">> => {
    const { token, now, atRest, unit, unitType, memory } = x;
    const keyset = keysets[x.keyset]!;
    try {
      if (x.kind === "keyset")
        return { says: wordsOfKeyset(await verifyKeyset(token, { environment, rootKey, now, atRest })) };
      if (x.kind === "status")
        return { says: wordsOfStatus(await verifyStatus(token, { environment, keyset, now, atRest })) };
      const status = x.status === null ? null : statuses[x.status]!;
      const subject = await subjectTag(environment, unitType, unit);
      const verified = await verifyAssignmentToken(token, {
        environment,
        subject,
        keyset,
        status,
        memory,
        now,
      });
      return { says: wordsOfToken(verified), refused: Object.fromEntries(verified.refused) };
    } catch (error) {
      return { code: error instanceof EdgesealError ? error.code : String(error) };
    }
  };

  let agreed = 0;
  let accepted = 0;
  const disagreements: string[] = [];
  for (const line of lines.slice(1)) {
    if (!line) continue;
    const x: Mutation = JSON.parse(line);
    const { code, says, refused } = x;
    if (x.kind === "keyset" && says)
      for (const key of says.keys as Record<string, unknown>[]) {
        // What follows from the `kid` is not kept, and nothing outlives the last end there is.
        for (const name of ["x", "alg", "kty", "crv"]) delete key[name];
        if (key.exp === Number.MAX_SAFE_INTEGER) delete key.exp;
      }
    const [theirs, ours] = [
      JSON.stringify(sorted({ code, says, refused })),
      JSON.stringify(sorted(await judge(x))),
    ];
    if (theirs === ours) {
      agreed++;
      if (says) accepted++;
    } else if (disagreements.length < 20)
      disagreements.push(
        `${x.kind}, ${x.how}\n  Rust ${theirs}\n  here ${ours}\n  ${x.token.slice(0, 3000)}`,
      );
  }
  return { agreed, accepted, disagreements };
}

/** With the members of objects in one order; a -0 stays one. */
function sorted(value: unknown): unknown {
  if (Object.is(value, -0)) return "-0";
  if (Array.isArray(value)) return value.map(sorted);
  if (!value || typeof value !== "object") return value;
  const entries = Object.entries(value).filter(([, value]) => value !== undefined);
  return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, sorted(value)]);
}

/** Verified documents back in the words of the wire. */

export const wordsOfToken = (token: VerifiedToken): Record<string, unknown> => ({
  sub: token.subject,
  ut: token.unitType,
  iat: token.issuedAt,
  exp: token.expiresAt,
  cv: token.configVersion,
  ep: token.epoch,
  cd: token.contextDigest,
  a: Object.fromEntries(
    [...token.assignments].map(([experiment, { variant: v, version: xv, reason: r, payload: p }]) => [
      experiment,
      { v, xv, r, ...(p === undefined ? {} : { p }) },
    ]),
  ),
});

export const wordsOfStatus = (status: Status): Record<string, unknown> => ({
  iss: status.environment,
  ep: status.epoch,
  cv: status.configVersion,
  iat: status.issuedAt,
  exp: status.expiresAt,
  off: [...status.off].sort(),
  min: Object.fromEntries(status.min),
  rev: [...status.revoked].sort(),
});

export const wordsOfKeyset = (keyset: Keyset): Record<string, unknown> => ({
  iss: keyset.environment,
  ver: keyset.version,
  iat: keyset.issuedAt,
  exp: keyset.expiresAt,
  keys: [...keyset.keys].map(([kid, key]) => ({
    kid,
    use: key.use,
    state: key.state,
    nbf: key.notBefore,
    ...(key.expiresAt === Number.MAX_SAFE_INTEGER ? {} : { exp: key.expiresAt }),
  })),
});

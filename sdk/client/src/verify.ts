import { checkAudience, entries, id, integer, key, name, text } from "./claims.js";
import { fail } from "./errors.js";
import { open, type Expected, type Signed } from "./jws.js";
import type { Keyset } from "./keyset.js";
import { isHalted, type Status } from "./status.js";
import { subjectTag } from "./subject.js";
import type { Json } from "./types.js";

const MAX_LIFE_SECONDS = 3600;

/** What this client has accepted before, so that nobody can show it the past again. */
export interface Memory {
  /** Newest snapshot version. */
  cv: number;
  /** Newest epoch in a token. */
  ep: number;
  /** Newest version, by experiment. */
  xv: Record<string, number>;
}

/** One experiment's variant. */
export interface Assignment {
  readonly variant: string;
  /** Of the experiment. */
  readonly version: number;
  /** As the edge named it; a newer edge may know others. */
  readonly reason: "split" | "sticky" | "forced" | "winner";
  readonly payload: Json | undefined;
}

/** A token that passed every check. Times are Unix seconds. */
export interface VerifiedToken extends Signed {
  readonly audience: string;
  readonly subject: string;
  readonly unitType: string;
  readonly configVersion: number;
  readonly epoch: number;
  readonly contextDigest: string;
  /** All that the token says, also of the refused experiments. */
  readonly assignments: ReadonlyMap<string, Assignment>;
  /** Experiments that must not be shown. */
  readonly refused: ReadonlyMap<string, "E_ROLLBACK" | "E_HALTED">;
}

export type VerifyTokenOptions = TokenExpected & Asker;

/** Who asks: the tag, or what it is made from. */
type Asker =
  | { subject: string; unit?: undefined; unitType?: undefined }
  | {
      subject?: undefined;
      unit: string;
      /** `user` by default. */
      unitType?: string | undefined;
    };

interface TokenExpected extends Omit<Expected, "atRest"> {
  keyset: Keyset;
  /** The newest status document; counts even when it has ended. */
  status?: Status | null | undefined;
  memory?: Memory | null | undefined;
}

/** Checks an assignment token. */
export async function verifyAssignmentToken(jws: string, x: VerifyTokenOptions): Promise<VerifiedToken> {
  const { status, memory } = x;
  const token = await open(jws, ["assignment", "edge", MAX_LIFE_SECONDS], x, readToken);
  checkAudience(token.audience, "edgeseal:" + x.environment);
  if (!isEqual(token.subject, x.subject ?? (await subjectTag(x.environment, x.unitType ?? "user", x.unit!))))
    fail("E_SUBJECT", "", token);
  if (memory && (token.configVersion < memory.cv || token.epoch < memory.ep)) fail("E_ROLLBACK");
  const refused = new Map<string, "E_ROLLBACK" | "E_HALTED">();
  for (const [experiment, { version }] of token.assignments) {
    if (version < memory?.xv[experiment]!) refused.set(experiment, "E_ROLLBACK");
    else if (status && isHalted(status, experiment, version)) refused.set(experiment, "E_HALTED");
  }
  return { ...token, refused };
}

/** The claims that only an assignment token has. */
export function readToken({ aud, sub, ut, cv, ep, cd, a }: any, plain: any) {
  return {
    audience: text(aud),
    subject: id(sub),
    unitType: name(ut),
    configVersion: integer(cv),
    epoch: integer(ep),
    contextDigest: text(cd),
    assignments: new Map(
      entries(a).map(([experiment, { v, xv, r }]): [string, Assignment] => [
        key(experiment),
        {
          variant: key(v),
          version: integer(xv),
          reason: text(r) as Assignment["reason"],
          payload: plain.a[experiment].p,
        },
      ]),
    ),
  };
}

/** In constant time; both are tags. */
function isEqual(one: string, other: string): boolean {
  let difference = one.length ^ other.length;
  for (let i = 0; i < 22; i++) difference |= one.charCodeAt(i) ^ other.charCodeAt(i);
  return !difference;
}

import { entries, id, integer, key } from "./claims.js";
import { fail } from "./errors.js";
import { open, type Expected, type Signed } from "./jws.js";
import type { Keyset } from "./keyset.js";

const MAX_LIFE_SECONDS = 30;

/** What is halted and revoked right now, verified. Counts after its end, too, until a newer one comes. */
export interface Status extends Signed {
  readonly epoch: number;
  /** Of the newest snapshot. */
  readonly configVersion: number;
  /** Experiments that nobody may show. */
  readonly off: ReadonlySet<string>;
  /** Lowest version still valid, by experiment. */
  readonly min: ReadonlyMap<string, number>;
  /** Keys whose signatures count no more. */
  readonly revoked: ReadonlySet<string>;
}

export interface VerifyStatusOptions extends Expected {
  keyset: Keyset;
}

/** Checks a status document. That it is not older than the newest seen is for the caller to ask. */
export async function verifyStatus(jws: string, x: VerifyStatusOptions): Promise<Status> {
  const status = await open(jws, ["status", "control", MAX_LIFE_SECONDS], x, readStatus);
  if (x.atRest && status.revoked.has(status.keyId)) fail("E_KEY", "revoked");
  return status;
}

/** The claims that only a status document has. */
export const readStatus = ({ ep, cv, off, min, rev }: any) => ({
  epoch: integer(ep),
  configVersion: integer(cv),
  off: new Set<string>(off.map(key)),
  min: new Map(entries(min).map(([experiment, version]) => [key(experiment), integer(version)])),
  revoked: new Set<string>(rev.map(id)),
});

/** What a status says of experiments. */
export type Halts = Pick<Status, "off" | "min">;

/** Whether a status keeps an experiment, at this version, from being shown. */
export const isHalted = (status: Halts, experiment: string, version: number): boolean =>
  status.off.has(experiment) || version < status.min.get(experiment)!;

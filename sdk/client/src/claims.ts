import { SKEW } from "./bounds.js";
import { fail } from "./errors.js";

// Each gives back a claim of the kind it is named for, and throws for any other.

/** From 0 to 2^53 - 1; other ways to write a number are null in an exact document. */
export const integer = (value: unknown): number =>
  Number.isSafeInteger(value) ? (value as number) : no(value);
export const text = (value: unknown, pattern = /^/): string =>
  typeof value === "string" && pattern.test(value) ? value : no(value);
/** Of an experiment or variant. */
export const key = (value: unknown): string => text(value, /^[a-z\d][\w.-]{0,127}$/i);
/** Of an environment or unit type. */
export const name = (value: unknown): string => text(value, /^[a-z\d][\w.-]{0,63}$/i);
/** A `kid` or subject tag: 16 bytes in base64url. */
export const id = (value: unknown): string => text(value, /^[\w-]{21}[AQgw]$/);
/** The members of an object. */
export const entries = (value: any): [name: string, value: any][] =>
  typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : no(value);

function no(value: unknown): never {
  throw value;
}

/** When something holds, in Unix seconds. */
export interface Lifetime {
  readonly issuedAt: number;
  /** As `issuedAt`, or later. */
  readonly notBefore: number;
  readonly expiresAt: number;
}

export function lifetime({ iat, exp, nbf = iat }: any, limit: number): Lifetime {
  const issuedAt = integer(iat);
  const life = integer(exp) - issuedAt;
  if (life <= 0 || life > limit) no(life);
  return { issuedAt, notBefore: Math.max(iat, integer(nbf)), expiresAt: exp };
}

/** Why something does not hold now, if so. */
export const checkTime = (
  { notBefore, expiresAt }: { notBefore: number; expiresAt: number },
  now: number,
): "E_EXPIRED" | "E_NOT_YET" | undefined =>
  now >= expiresAt + SKEW ? "E_EXPIRED" : notBefore > now + SKEW ? "E_NOT_YET" : undefined;

export function checkAudience(found: string, expected: string): void {
  if (found !== expected) fail("E_AUDIENCE", found);
}

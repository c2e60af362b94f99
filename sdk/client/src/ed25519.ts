import type { Bytes } from "./base64url.js";
import { fail } from "./errors.js";

/** Whether a signature is one key's over a message. */
export type Verify = (message: Bytes, signature: Bytes) => Promise<boolean>;

/** The field's prime (RFC 8032 5.1). */
const P = (1n << 255n) - 19n;

/**
 * Checks signatures strictly (RFC 8032 5.1.7, without cofactor), also where the engine does not: `s` has to be reduced,
 * and `R` must not be of small order.
 *
 * Throws when `publicKey` is not the canonical encoding of a point, or is one of small order, which would accept one
 * signature for many messages.
 */
export function verifier(publicKey: Bytes): Verify {
  if (publicKey.length !== 32 || !isStrong(publicKey)) throw "key";
  let check: Verify | undefined;
  return async (message, signature) =>
    signature.length === 64 &&
    // Below 2^252, as all but one in 2^125 reduced ones are.
    signature[63]! < 16 &&
    // Not the neutral element: under a strong key, the only point of small order that the equation can give.
    !/^1(,0){31},/.test(signature + "") &&
    (check ??= await load(publicKey))(message, signature);
}

/** By WebCrypto, or where it has no Ed25519 (Chrome before 137, Firefox before 129, Safari before 17) without. */
const load = (publicKey: Bytes): Promise<Verify> =>
  crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]).then(
    (key) => (message, signature) => crypto.subtle.verify("Ed25519", key, signature, message),
    () =>
      import("./fallback.js")
        .then((fallback) => fallback.verifier(publicKey))
        .catch((error) => fail("E_KEY", error)),
  );

/**
 * Whether 32 bytes are the canonical encoding of a point whose order is not 1, 2, 4 or 8.
 *
 * With d = -121665/121666, some x belongs to y if (y² - 1) / (d·y² + 1) = x² is a square (Euler's criterion); and the
 * point is of small order if y² is 0, 1 (for which `power` is 0) or solves d·y⁴ + 2·y² - 1 = 0 (twice the point then
 * has y = 0).
 */
function isStrong(point: Bytes): boolean {
  const y = point.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n) & (P + 18n);
  const t = (y * y) % P;
  const u = t - 1n;
  const v = 121666n - 121665n * t;
  let base = (u * v * 121666n) % P;
  let power = 1n;
  for (let exponent = P >> 1n; exponent; exponent >>= 1n) {
    if (exponent & 1n) power = (power * base) % P;
    base = (base * base) % P;
  }
  return y < P && power === 1n && (t * (t * v + 121666n * u)) % P !== 0n;
}

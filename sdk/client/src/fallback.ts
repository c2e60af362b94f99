/** Ed25519 for engines whose WebCrypto has none; loaded only there. */
import { etc, Point } from "@noble/ed25519";
import type { Bytes } from "./base64url.js";
import type { Verify } from "./ed25519.js";

/** The library's own check multiplies by the cofactor, which others do not; this one compares `R` byte by byte. */
export function verifier(publicKey: Bytes): Verify {
  const negated = Point.fromBytes(publicKey).negate();
  const order = Point.CURVE().n;
  return async (message, signature) => {
    const r = signature.slice(0, 32);
    const input = etc.concatBytes(r, publicKey, message);
    const k = toInteger(new Uint8Array(await crypto.subtle.digest("SHA-512", input))) % order;
    const s = toInteger(signature.slice(32));
    const expected = Point.BASE.multiply(s, false).add(negated.multiply(k, false)).toBytes();
    return expected.every((byte, i) => byte === r[i]);
  };
}

const toInteger = (bytes: Uint8Array): bigint => BigInt("0x" + etc.bytesToHex(bytes.reverse()));

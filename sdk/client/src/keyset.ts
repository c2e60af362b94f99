import { decode, encode, toBytes } from "./base64url.js";
import { integer } from "./claims.js";
import { verifier } from "./ed25519.js";
import { reading } from "./errors.js";
import { open, type Expected, type Key, type Signed } from "./jws.js";

export type { Key };

const MAX_LIFE_SECONDS = 30 * 24 * 3600;
const MAX_KEYS = 64;
/** What a key says of itself: type, curve, algorithm, use, state. */
const KEY = /^."OKP","Ed25519","Ed(DSA|25519)","(edge|control)","(published|active|retiring|retired)".$/;

/** The verified public keys of one environment. Times are Unix seconds. */
export interface Keyset extends Signed {
  readonly version: number;
  /** By `kid`. */
  readonly keys: ReadonlyMap<string, Key>;
}

export interface VerifyKeysetOptions extends Expected {
  /** The pinned root key, base64url. */
  rootKey: string;
}

/** Checks a keyset against the pinned root key. That it is not older than the newest seen is for the caller to ask. */
export const verifyKeyset = (jws: string, x: VerifyKeysetOptions): Promise<Keyset> =>
  reading(async () => {
    const { environment, rootKey } = x;
    const root = { use: "root", state: "active", notBefore: 0, expiresAt: Infinity };
    const keys = new Map([[await keyId(rootKey), { ...root, verify: verifier(decode(rootKey)) }]]);
    return open(jws, ["keyset", "root", MAX_LIFE_SECONDS], { ...x, keyset: { environment, keys } }, readKeys);
  });

async function readKeys({ ver, keys: list }: any) {
  if (list.length > MAX_KEYS) throw list.length;
  const keys = new Map<string, Key>(await Promise.all(list.map(readKey)));
  if (keys.size !== list.length) throw "kid twice";
  return { version: integer(ver), keys };
}

/** A JWK (RFC 8037). */
async function readKey(jwk: any): Promise<[kid: string, key: Key]> {
  const { kty, crv, x, kid, alg = "EdDSA", use, state, nbf, exp = Number.MAX_SAFE_INTEGER } = jwk;
  if (!KEY.test(JSON.stringify([kty, crv, alg, use, state])) || "d" in jwk || kid !== (await keyId(x)))
    throw kid;
  return [kid, { use, state, notBefore: integer(nbf), expiresAt: integer(exp), verify: verifier(decode(x)) }];
}

/** A `kid`: the first 16 bytes of the key's RFC 7638 thumbprint. */
export const keyId = (x: string): Promise<string> => hash(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`);

/** The first 16 bytes of SHA-256, base64url. */
export const hash = async (text: string): Promise<string> =>
  encode(new Uint8Array(await crypto.subtle.digest("SHA-256", toBytes(text)), 0, 16));

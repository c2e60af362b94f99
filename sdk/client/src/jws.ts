import { decode, toBytes } from "./base64url.js";
import { MAX_CHARS } from "./bounds.js";
import { checkAudience, checkTime, lifetime, name, text, type Lifetime } from "./claims.js";
import type { Verify } from "./ed25519.js";
import { fail, reading } from "./errors.js";
import { parse } from "./json.js";
import type { Keyset } from "./keyset.js";
import type { Status } from "./status.js";

/** A key and when it counts. */
export interface Key {
  readonly use: string;
  readonly state: string;
  readonly notBefore: number;
  readonly expiresAt: number;
  readonly verify: Verify;
}

/** What must hold for everything signed. */
export interface Expected {
  /** The environment that must have issued it. */
  environment: string;
  /** Unix seconds. */
  now: number;
  /** For what this client verified before it was stored: whatever the time, also by a key retired since. */
  atRest?: boolean | undefined;
}

/** What everything signed says. */
export interface Signed extends Lifetime {
  readonly environment: string;
  /** The `kid` of the key that signed it. */
  readonly keyId: string;
}

/**
 * The claims of a compact JWS (RFC 7515), verified: step by step in the order of docs/protocol.md, "Verifying a token".
 * `read` reads the claims that only this kind has.
 */
export const open = <T>(
  jws: string,
  [kind, use, limit]: readonly [kind: string, use: string, lifeSeconds: number],
  x: Expected & { keyset: Pick<Keyset, "environment" | "keys">; status?: Status | null | undefined },
  read: (exact: any, plain: any) => T | Promise<T>,
): Promise<Signed & T> =>
  reading(async () => {
    const parts = jws.split(".");
    if (jws.length > MAX_CHARS || parts.length !== 3) throw "size";
    const [header, claims, signature] = parts.map(decode) as [any, any, any];
    const { exact: members } = parse(header);
    const [alg, kid, typ] = [text(members.alg), text(members.kid), text(members.typ)];
    if (Object.keys(members).length !== 3) throw "header";

    if (typ !== `edgeseal-${kind}+jwt`) fail("E_TYPE", typ);

    const key = x.keyset.keys.get(kid);
    if (
      !/^Ed(DSA|25519)$/.test(alg) ||
      x.keyset.environment !== x.environment ||
      key?.use !== use ||
      (!x.atRest && (key.state === "retired" || checkTime(key, x.now)))
    )
      fail("E_KEY", kid);
    if (x.status) checkAudience(x.status.environment, x.environment);
    if (x.status?.revoked.has(kid)) fail("E_KEY", "revoked");

    const signed = toBytes(parts[0] + "." + parts[1]);
    if (!(await key!.verify(signed, signature))) fail("E_SIGNATURE");

    const { exact, plain } = parse(claims);
    const document = {
      keyId: kid,
      environment: name(exact.iss),
      ...lifetime(exact, limit),
      ...(await read(exact, plain)),
    };
    const untimely = !x.atRest && checkTime(document, x.now);
    if (untimely) fail(untimely);
    checkAudience(document.environment, x.environment);
    return document;
  });

/**
 * What something signed says, believing it: for the first render over HTML that was made from it, and for saying what
 * was refused. Nothing if it cannot be read.
 */
export function peek<T>(jws: string | undefined, read: (exact: any, plain: any) => T): T | undefined {
  try {
    const { exact, plain } = parse(decode(jws!.split(".")[1]!));
    return read(exact, plain);
  } catch {
    return;
  }
}

/** Signs what an edge and a control plane would, with the seeds of `vectors/sealing.json`. */
import { readFileSync } from "node:fs";
import { encode } from "../../src/base64url.js";
import { subjectTag } from "../../src/subject.js";

const vectors = JSON.parse(
  readFileSync(new URL("../../../../vectors/sealing.json", import.meta.url), "utf8"),
);

export type KeyName = "root" | "edge" | "edge_published" | "edge_retiring" | "control" | "stranger";
const keyNamed = (name: KeyName): { kid: string; public_key: string; seed: string } => vectors.keys[name];

export const ROOT_KEY: string = keyNamed("root").public_key;
export const OTHER_ROOT_KEY: string = keyNamed("stranger").public_key;
export const kidOf = (name: KeyName): string => keyNamed(name).kid;

const text = new TextEncoder();
const signers = new Map<KeyName, Promise<CryptoKey>>();

function signer(name: KeyName): Promise<CryptoKey> {
  const seed = Buffer.from(keyNamed(name).seed, "base64url");
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const known = signers.get(name) ?? crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  signers.set(name, known);
  return known;
}

export async function sign(
  kind: "assignment" | "keyset" | "status",
  claims: object,
  key: KeyName,
): Promise<string> {
  const header = { alg: "EdDSA", kid: kidOf(key), typ: `edgeseal-${kind}+jwt` };
  const signed = [header, claims].map((part) => encode(text.encode(JSON.stringify(part)))).join(".");
  const signature = await crypto.subtle.sign("Ed25519", await signer(key), text.encode(signed));
  return signed + "." + encode(new Uint8Array(signature));
}

export interface Variants {
  [experiment: string]: string | { v: string; xv?: number; r?: string; p?: unknown };
}

export async function token(
  now: number,
  unit: string,
  variants: Variants,
  more: {
    cv?: number;
    ep?: number;
    life?: number;
    age?: number;
    key?: KeyName;
    unitType?: string;
    sub?: string;
  } = {},
): Promise<string> {
  const { cv = 1, ep = 0, life = 900, age = 0, key = "edge", unitType = "user" } = more;
  const a = Object.fromEntries(
    Object.entries(variants).map(([experiment, x]) => [
      experiment,
      { xv: 1, r: "split", ...(typeof x === "string" ? { v: x } : x) },
    ]),
  );
  const sub = more.sub ?? (await subjectTag("production", unitType, unit));
  const iat = now - age;
  const claims = {
    iss: "production",
    aud: "edgeseal:production",
    sub,
    ut: unitType,
    iat,
    exp: iat + life,
    cv,
    ep,
    cd: "x",
    a,
  };
  return sign("assignment", claims, key);
}

export function keyset(
  now: number,
  ver = 1,
  keys: KeyName[] = ["edge", "control"],
  life = 86_400,
): Promise<string> {
  const list = keys.map((name) => ({
    kty: "OKP",
    crv: "Ed25519",
    x: keyNamed(name).public_key,
    kid: kidOf(name),
    use: name === "control" ? "control" : "edge",
    state: "active",
    nbf: now - 600,
  }));
  return sign("keyset", { iss: "production", ver, iat: now, exp: now + life, keys: list }, "root");
}

export interface Halts {
  ep?: number;
  cv?: number;
  off?: string[];
  min?: Record<string, number>;
  rev?: string[];
}

export const status = (
  now: number,
  { ep = 0, cv = 1, off = [], min = {}, rev = [] }: Halts = {},
): Promise<string> =>
  sign("status", { iss: "production", ep, cv, off, min, rev, iat: now, exp: now + 30 }, "control");

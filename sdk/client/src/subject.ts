import { name, text } from "./claims.js";
import { reading } from "./errors.js";
import { hash } from "./keyset.js";

/** At most 256 characters (the edge counts bytes), none of them a control character or half of one. */
const UNIT = /^[^\p{Cc}\p{Cs}]{1,256}$/u;

/** The tag that stands for a unit in everything signed: 16 bytes of SHA-256, base64url. */
export const subjectTag = (environment: string, unitType: string, unit: string): Promise<string> =>
  reading(() => hash(["edgeseal/sub/1", name(environment), name(unitType), text(unit, UNIT)].join("\0")));

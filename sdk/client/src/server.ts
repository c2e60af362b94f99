/** For servers that render: a unit's variants before the page is sent, and what the browser starts from. */
import { encode, toBytes } from "./base64url.js";
import { checkTime } from "./claims.js";
import { EdgesealError } from "./errors.js";
import { verifyKeyset, type Keyset } from "./keyset.js";
import { readingOf } from "./reading.js";
import { verifyStatus, type Status } from "./status.js";
import { subjectTag } from "./subject.js";
import { request } from "./transport.js";
import type { Edgeseal, Embedded, ErrorCode, Json, NotEmbedded, Reading } from "./types.js";
import { verifyAssignmentToken, type VerifiedToken } from "./verify.js";

const DEFAULT_TIMEOUT_MS = 1000;
/** How old a status document and a keyset may get before the next request asks for another. */
const STATUS_SECONDS = 10;
const KEYSET_SECONDS = 60;
/** After a failure, how long until the edge is asked for a document again. */
const RETRY_SECONDS = 1;

export interface EdgesealServerOptions {
  /** The environment, such as `production`. */
  environment: string;
  /** The environment's public root key, base64url. */
  rootKey: string;
  /** The edge, such as `http://edge.internal:8080`; better the edge than a cache in front of it. */
  edgeUrl: string;
  /** The longest that {@link EdgesealServer.assign} takes; 1000 by default. */
  timeoutMs?: number;
  fetch?: typeof fetch;
  /** Unix milliseconds; `Date.now` by default. */
  now?: () => number;
}

export interface AssignRequest {
  /** The unit's id. */
  unit: string;
  /** `user` by default. */
  unitType?: string;
  attributes?: Readonly<Record<string, Json>>;
  /** For a content security policy. */
  nonce?: string;
}

export interface Assigned {
  /** What the browser starts from; null when nothing that verifies could be had in time. */
  readonly embedded: Embedded | null;
  /** To render with: its readings are verified and never change, and it counts nothing. */
  readonly edgeseal: Edgeseal;
  /** `embedded`, or why there is nothing, as the element that `createEdgeseal` looks for. */
  readonly script: string;
}

export interface EdgesealServer {
  /** A unit's variants. Never throws, and takes no longer than it may: the worst is that everybody sees the default. */
  assign(request: AssignRequest): Promise<Assigned>;
}

/** Keeps the keyset and the status document, and asks the edge for a token at each call: make one for each process. */
export function createEdgesealServer(options: EdgesealServerOptions): EdgesealServer {
  const { environment, rootKey, timeoutMs = DEFAULT_TIMEOUT_MS, now: local = Date.now } = options;
  const edgeUrl = options.edgeUrl.replace(/\/$/, "") + "/v1/";
  const now = () => Math.floor(local() / 1000);
  const get = (path: string, init?: RequestInit) =>
    request(options.fetch ?? fetch, edgeUrl + path, {
      signal: AbortSignal.timeout(timeoutMs),
      ...init,
    });

  const keysets = createDocument<Keyset>(
    KEYSET_SECONDS,
    now,
    () => get("keyset"),
    (jws) => verifyKeyset(jws, { environment, rootKey, now: now() }),
    (one, other) => one.version >= other.version,
  );
  const statuses = createDocument<Status>(
    STATUS_SECONDS,
    now,
    () => get("status"),
    async (jws) => verifyStatus(jws, { environment, keyset: (await keysets.newest()).value, now: now() }),
    (one, other) => one.epoch >= other.epoch,
  );

  async function verified(jws: string, subject: string) {
    const [keyset, status] = await Promise.all([keysets.newest(), statuses.newest().catch(() => null)]);
    const x = { environment, subject, keyset: keyset.value, status: status?.value, now: now() };
    const token = await verifyAssignmentToken(jws, x);
    return { token, status, embedded: { token: jws, keyset: keyset.jws, status: status?.jws } };
  }

  async function ask({ unit, unitType = "user", attributes }: AssignRequest) {
    const subject = await subjectTag(environment, unitType, unit);
    const query = new URLSearchParams({ ut: unitType });
    if (attributes) query.set("attrs", encode(toBytes(JSON.stringify(attributes))));
    const path = () => `assignments/${encodeURIComponent(unit)}?${query}`;
    // Both documents are asked for while the token is on its way.
    const warm = Promise.allSettled([keysets.newest(), statuses.newest()]);
    const [jws] = await Promise.all([get(path()), warm]);
    try {
      const answer = await verified(jws, subject);
      if (!answer.token.refused.size) return answer;
    } catch (error) {
      const code = error instanceof EdgesealError && error.code;
      if (code === "E_KEY") {
        // Signed by a key that is newer than the keyset.
        await keysets.renew();
        return verified(jws, subject);
      }
      if (code !== "E_SUBJECT") throw error;
    }
    // Some cache gave out another unit's, or one from before a pause, which the browser would hydrate. Past it.
    query.set("fresh", crypto.randomUUID());
    return verified(await get(path(), { cache: "reload" }), subject);
  }

  return {
    async assign(request) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const timeout = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error("timed out")), timeoutMs);
      });
      try {
        const { token, status, embedded } = await Promise.race([ask(request), timeout]);
        const script = embed(embedded, request.nonce);
        return { embedded, edgeseal: fixed(token, status?.value, null), script };
      } catch (error) {
        const code = (error as EdgesealError | undefined)?.code;
        const known = typeof code === "string" && code.startsWith("E_") ? code : "E_NETWORK";
        const script = embed({ error: known }, request.nonce);
        return { embedded: null, edgeseal: fixed(null, undefined, known), script };
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

interface Held<T> {
  readonly value: T;
  readonly jws: string;
  readonly at: number;
}

/** A signed document that is asked for again when it has got old; meanwhile the old one is good until it ends. */
function createDocument<T extends Keyset | Status>(
  seconds: number,
  now: () => number,
  load: () => Promise<string>,
  verify: (jws: string) => Promise<T>,
  isNotOlder: (one: T, other: T) => boolean,
) {
  let held: Held<T> | undefined;
  let asking: Promise<Held<T>> | undefined;
  let failedAt = -Infinity;

  /** One request at a time, whoever asks. */
  function renew(): Promise<Held<T>> {
    return (asking ??= (async () => {
      try {
        const jws = await load();
        const value = await verify(jws);
        if (!held || isNotOlder(value, held.value)) held = { value, jws, at: now() };
        return held;
      } catch (error) {
        failedAt = now();
        throw error;
      } finally {
        asking = undefined;
      }
    })());
  }

  async function newest(): Promise<Held<T>> {
    if (!held) return renew();
    const isLive = !checkTime(held.value, now());
    const isDue = now() - held.at >= seconds && now() - failedAt >= RETRY_SECONDS;
    // What a status has halted and revoked counts even after it has ended; a keyset that has ended is none.
    if (isDue && isLive) renew().catch(() => {});
    else if (!isLive) {
      const old = held;
      return renew().catch((error) => ("revoked" in old.value ? old : Promise.reject(error)));
    }
    return held;
  }

  return { newest, renew };
}

/** JSON inside a script element: nothing in it can end the element, or a line of JavaScript. */
function embed(embedded: Embedded | NotEmbedded, nonce?: string): string {
  const json = JSON.stringify(embedded).replace(
    /[<\u2028\u2029]/g,
    (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"),
  );
  const attribute = nonce ? ` nonce="${nonce.replace(/&/g, "&amp;").replace(/"/g, "&quot;")}"` : "";
  return `<script type="application/json" id="edgeseal"${attribute}>${json}</script>`;
}

/** Readings of one token, for one rendering. */
function fixed(token: VerifiedToken | null, status: Status | undefined, error: ErrorCode | null): Edgeseal {
  const readings = new Map<string, Reading>();
  const get = (key: string): Reading => {
    if (!readings.has(key)) {
      const reading = readingOf(key, !!token, token?.assignments.get(key), status, error);
      readings.set(key, Object.freeze(reading));
    }
    return readings.get(key)!;
  };
  const settled = Promise.resolve();
  const nothing = () => {};
  return {
    get,
    getForHydration: get,
    subscribe: () => nothing,
    ready: settled,
    on: () => nothing,
    expose: nothing,
    track: nothing,
    identify: () => settled,
    refresh: () => settled,
    flush: () => settled,
    close: nothing,
  } as Edgeseal;
}

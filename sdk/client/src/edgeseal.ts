import { decode, encode, toBytes } from "./base64url.js";
import {
  MAX_EVENTS,
  MIN_REFRESH_SECONDS,
  POLL_MS,
  REFRESH_AT,
  SKEW,
  SPREAD_SECONDS,
  STALE_SECONDS,
  MAX_BATCH_CHARS,
} from "./bounds.js";
import { checkTime } from "./claims.js";
import { verifier } from "./ed25519.js";
import { fail, reading, type EdgesealError } from "./errors.js";
import { createEvents, uuid7, type Event } from "./events.js";
import { peek } from "./jws.js";
import { verifyKeyset, type Keyset } from "./keyset.js";
import { readingOf } from "./reading.js";
import { createSession, type Held } from "./session.js";
import { readStatus, verifyStatus, type Status } from "./status.js";
import { openStore } from "./storage.js";
import { subjectTag } from "./subject.js";
import { backoff, request, type Failure } from "./transport.js";
import type {
  Edgeseal,
  EdgesealOptions,
  Embedded,
  ErrorCode,
  EventMap,
  Json,
  NotEmbedded,
  Reading,
} from "./types.js";
import { watchStatus } from "./updates.js";
import { readToken, verifyAssignmentToken, type VerifiedToken } from "./verify.js";

type Source = EventMap["leak"]["source"];
type What = EventMap["error"]["what"];
type Versions = Record<string, number>;

/** What is kept in storage. Nothing in it is believed when it comes back. */
interface Kept {
  /** Of another root key, it is another control plane's. */
  rootKey: string;
  /** For whom the token is: the subject tag and the attributes. */
  who?: string;
  token?: string | undefined;
  keyset?: string;
  status?: string;
  seen: Versions;
}

/**
 * A unit's variants, verified here and kept up to date.
 *
 * ```ts
 * const edgeseal = createEdgeseal({ environment: "production", rootKey, unit: "user-1", edgeUrl });
 * await edgeseal.ready;
 * edgeseal.get("checkout").variant;
 * ```
 */
export function createEdgeseal(options: EdgesealOptions): Edgeseal {
  const { environment, rootKey, updates = "stream", now: local = Date.now } = options;
  let { unitType = "user" } = options;
  const edgeUrl = options.edgeUrl.replace(/\/$/, "") + "/v1/";
  const name = "edgeseal:" + environment;

  let tag: string;
  /** What is asked for, nothing where that is impossible; also tells whether an answer still is of the present unit. */
  let path: string;
  let keyset: Keyset | undefined;
  let status: Status | undefined;
  let held: (Held & { token: VerifiedToken }) | undefined;
  let error: ErrorCode | null = null;
  /** Highest versions in tokens, by experiment; of the token itself under names that no experiment can have. */
  const seen: Versions = { __proto__: null as never, " cv": 0, " ep": 0 };
  const kept: Kept = { rootKey, seen };
  const early: Event[] = [];
  /** What was read for hydration before a token was verified. */
  const hydrating = new Set<string>();
  const readings = new Map<string, Reading>();
  const interned = new Map<string, Reading>();
  /** Seconds by which this device's clock is behind, and by which it seemed to be when last heard. */
  let behind = 0;
  let heardBehind = 0;
  let asking: Promise<void> | undefined;
  let attempt = 0;
  let refreshTimer: ReturnType<typeof setTimeout> | undefined;
  let expiryTimer: typeof refreshTimer;
  const stop = new AbortController();

  const target = new EventTarget();
  const emit = <E extends keyof EventMap>(event: E, detail?: EventMap[E]) =>
    target.dispatchEvent(new CustomEvent(event, { detail }));
  const on: Edgeseal["on"] = (event, handler) => {
    const listener = (e: unknown) => handler((e as CustomEvent).detail);
    target.addEventListener(event, listener);
    return () => target.removeEventListener(event, listener);
  };
  const ask = (path: string, init: RequestInit) => request(options.fetch ?? fetch, edgeUrl + path, init);
  const store = openStore(options.storage, "localStorage");
  const [addEvent, flush, stopEvents] = createEvents(
    store,
    name + ":events",
    (body) =>
      ask("events", {
        method: "POST",
        body,
        // Browsers refuse it for more.
        keepalive: body.length <= MAX_BATCH_CHARS,
        headers: { "content-type": "application/json" },
      }),
    (reason) => report(reason, "events"),
  );
  const [restore, identify, compare, lockOf, once, hasDrifted] = createSession(
    openStore(options.sessionStorage, "sessionStorage"),
    name + ":",
    options.drift,
    (drift) => tell("drift", drift),
  );
  const embedded = readEmbedded(options.initial);
  /** What the server rendered from, unless it was refused since. */
  let rendered = peek(embedded?.token, readToken);
  const renderedHalts = peek(embedded?.status, readStatus);

  const ms = () => Math.floor(local() + behind * 1000);
  const now = () => Math.floor(ms() / 1000);
  const isLive = () => held && !checkTime(held.token, now());

  // Reading

  function compute(key: string): Reading {
    if (!held && !error && hydrating.has(key))
      return { ...readServer(key), isVerified: false, reason: "hydrating" };
    const token = isLive() ? held!.token : undefined;
    let refusal = token ? token.refused.get(key) : held ? "E_EXPIRED" : error;
    let found: Parameters<typeof readingOf>[2] = refusal ? undefined : token?.assignments.get(key);
    const lock = token && lockOf(key, found?.variant);
    if (lock && !status?.revoked.has(lock.token.keyId!)) {
      found = { ...lock.token.assignments.get(key)!, reason: "locked" };
      refusal = null;
    }
    return { ...readingOf(key, !!token, found, status, refusal), driftDetected: hasDrifted(key) };
  }

  /** As the server read it, which had verified what it embedded. */
  const readServer = (key: string): Reading =>
    readingOf(
      key,
      !!rendered,
      rendered?.assignments.get(key),
      renderedHalts,
      rendered ? null : (embedded?.error ?? "E_NETWORK"),
    );

  /** The same object for the same reading. */
  function intern(reading: Reading): Reading {
    const text = JSON.stringify(reading);
    if (!interned.has(text)) interned.set(text, Object.freeze(reading));
    return interned.get(text)!;
  }

  function renew(key: string): Reading {
    const reading = intern(compute(key));
    readings.set(key, reading);
    return reading;
  }

  const get = (key: string): Reading => ((!held || isLive()) && readings.get(key)) || renew(key);

  function changed(): void {
    for (const key of readings.keys()) renew(key);
    emit("change");
  }

  // Counting

  function record(type: string, fields: object, token = isLive() && held!.jws): void {
    if (options.sendEvents === false) return;
    const event = { id: uuid7(ms()), type, ts: ms(), ...fields };
    if (token) addEvent(token, event);
    else if (early.length < MAX_EVENTS) early.push(event);
  }

  function tell<E extends "drift" | "leak">(event: E, detail: EventMap[E]): void {
    emit(event, detail);
    record(event, detail);
  }

  function expose(key: string): void {
    const { variant, isVerified, reason } = get(key);
    if (variant && reason === "hydrating") void ready.then(() => get(key).variant === variant && expose(key));
    const { jws, token } = lockOf(key, held?.token.assignments.get(key)?.variant) ?? held ?? {};
    if (
      isVerified &&
      variant &&
      !/forced|winner/.test(token!.assignments.get(key)!.reason) &&
      once(key + " " + variant)
    ) {
      emit("exposure", { experiment: key, variant });
      record("exposure", { experiment: key }, jws);
    }
  }

  function report(reason: unknown, what: What): ErrorCode {
    let { code, message: detail } = reason as EdgesealError | Failure;
    // Whatever else the browser throws has no code, or a number.
    if (!(code > "E")) code = "E_NETWORK";
    emit("error", { code, what, detail });
    if (!/NETW|HTTP|LARGE/.test(code) && once("!" + code)) record("verification_failed", { code });
    return code;
  }

  // Keeping

  const save = () => {
    recall();
    store.set(name, kept);
  };

  /** What is stored; another tab may have seen more. */
  function recall(): Partial<Kept> | undefined {
    const stored = store.get(name);
    if (stored?.rootKey !== rootKey) return;
    grow(stored.seen);
    return stored;
  }

  function grow(versions: Versions): void {
    for (const name in versions) if (versions[name]! > (seen[name] ?? 0)) seen[name] = versions[name]!;
  }

  // Verifying

  /** Takes a document over, unless it is older than what is there. */
  async function take(what: "keyset" | "status", jws: string, isFresh?: boolean): Promise<void> {
    try {
      // NaN: whatever the time. What is newer counts in any case, and the time may be what is wrong.
      const x = { environment, now: NaN, rootKey, keyset: keyset! };
      if (what === "keyset") {
        const next = await verifyKeyset(jws, x);
        if (next.version < keyset?.version!) return;
        keyset = next;
      } else {
        const next = await verifyStatus(jws, x);
        if (isFresh) heardBehind = next.issuedAt - Math.floor(local() / 1000);
        if (next.epoch < status?.epoch!) return;
        status = next;
        if (next.revoked.has(held?.token.keyId!)) {
          held = rendered = undefined;
          void refresh(true);
        } else if (next.configVersion > held?.token.configVersion!) plan(Math.random() * SPREAD_SECONDS);
      }
      kept[what] = jws;
      save();
      changed();
    } catch (reason) {
      report(reason, what);
    }
  }

  const fetchDocument = (what: "keyset" | "status"): Promise<unknown> =>
    ask(what, { cache: "no-store" }).then(
      (jws) => take(what, jws, true),
      (reason) => report(reason, what),
    );

  const verify = (jws: string, now: number, xv?: Versions) =>
    verifyAssignmentToken(jws, {
      environment,
      subject: tag,
      keyset: keyset!,
      status,
      memory: xv && { cv: xv[" cv"]!, ep: xv[" ep"]!, xv },
      now,
    });

  /** Checks a token and takes it over. */
  async function adopt(jws: string, source: Source): Promise<void> {
    const mine = path;
    const check = () => {
      const why = keyset ? checkTime(keyset, now()) : "E_KEY";
      return why ? fail(why, "keyset") : verify(jws, now(), seen);
    };
    let token;
    try {
      token = await reading(check);
    } catch (reason) {
      if (source === "storage" || !/KEY|EXP|YET/.test((reason as EdgesealError).code)) throw reason;
      // It may look wrong for want of newer keys, or of the right time.
      await fetchDocument("keyset");
      await fetchDocument("status");
      behind = Math.abs(heardBehind) > SKEW ? heardBehind : 0;
      token = await check();
    }
    if (mine !== path) return;
    // It cannot be earlier than when something genuine was signed.
    behind += Math.max(0, token.issuedAt - now());
    grow({ " cv": token.configVersion, " ep": token.epoch });
    for (const [experiment, { version }] of token.assignments) grow({ [experiment]: version });
    held = { jws, token, at: now() };
    kept.token = jws;
    error = null;
    for (const event of early.splice(0)) addEvent(jws, event);
    compare(held, source === "embedded" ? "take" : "keep", status);
    save();
    const left = token.expiresAt - now();
    // Less and less, for shared caches have the same token until it ends.
    plan(Math.max(left * REFRESH_AT, MIN_REFRESH_SECONDS));
    clearTimeout(expiryTimer);
    expiryTimer = setTimeout(changed, (left + SKEW) * 1000);
    changed();
  }

  /** Says why a token is not shown. */
  function refuse(reason: unknown, jws: string, source: Source): void {
    const code = report(reason, "token");
    const { leak } = reason as EdgesealError;
    if (leak) tell("leak", { subject: leak.subject, keyId: leak.keyId, source });
    if (code === "E_ROLLBACK") compare({ jws, at: 0, token: peek(jws, readToken)! }, "replay", status);
    if (!held) {
      if (source === "network" || (rendered && hydrating.size)) error = code;
      rendered = undefined;
    }
    save();
    changed();
  }

  // Asking

  function plan(seconds: number): void {
    clearTimeout(refreshTimer);
    refreshTimer = setTimeout(refresh, seconds * 1000);
  }

  const refresh = (isFresh?: unknown): Promise<void> =>
    (asking ??= fetchToken(isFresh === true).finally(() => (asking = undefined)));

  async function fetchToken(isFresh: boolean): Promise<void> {
    const mine = path;
    let jws = "";
    if (mine)
      try {
        const keys = keyset ?? fetchDocument("keyset");
        const cv = Math.max(seen[" cv"]!, status?.configVersion ?? 0);
        jws = await ask(path + (cv ? "&cv=" + cv : "") + (isFresh ? "&fresh=" + crypto.randomUUID() : ""), {
          cache: isFresh ? "reload" : "default",
        });
        await keys;
        await adopt(jws, "network");
        attempt = 0;
      } catch (reason) {
        if (mine !== path) return;
        const { leak, after } = reason as EdgesealError & Failure;
        refuse(reason, jws, "network");
        if (leak && !isFresh) return fetchToken(true);
        plan(backoff(attempt++, after));
      }
  }

  async function begin(
    unit: string,
    attributes: Readonly<Record<string, Json>> | undefined,
    isFirst: boolean,
  ): Promise<void> {
    let mine = (path = "");
    let attrs = "";
    asking = undefined;
    try {
      const own = await reading(() => {
        verifier(decode(rootKey));
        if (attributes) attrs = "&attrs=" + encode(toBytes(JSON.stringify(attributes)));
        mine = path = `assignments/${encodeURIComponent(unit)}?ut=${unitType}${attrs}`;
        return subjectTag(environment, unitType, unit);
      });
      if (mine !== path) return;
      kept.who = (tag = own) + attrs;
    } catch (reason) {
      if (mine === path) {
        path = "";
        refuse(reason, "", "network");
      }
      return;
    }
    if (!isFirst) identify(tag);
    else {
      const stored = recall();
      for (const what of ["keyset", "status"] as const)
        for (const jws of [stored?.[what], embedded?.[what]]) if (jws) await take(what, jws);
      await restore(tag, verify);
      for (const [jws, source] of [
        [embedded?.token, "embedded"],
        [stored?.who === kept.who && stored!.token, "storage"],
      ] as const)
        if (jws && !held && mine === path)
          await adopt(jws, source).catch((reason) => refuse(reason, jws, source));
    }
    if (mine === path && !held) await refresh();
  }

  // Coming and going

  const onVisibility = (event: { type: string }) => {
    if (event.type === "pagehide" || document.visibilityState === "hidden") void flush();
    else if (now() > held?.at! + STALE_SECONDS) void refresh();
  };
  for (const type of ["visibilitychange", "pagehide"])
    globalThis.addEventListener?.(type, onVisibility, stop);

  const ready = begin(options.unit, options.attributes, true).then(() => {
    if (updates !== "off" && !stop.signal.aborted)
      watchStatus(
        name,
        updates === "stream" && edgeUrl + "stream",
        options.pollIntervalMs ?? POLL_MS,
        (jws) => take("status", jws, true),
        () => fetchDocument("status"),
        stop,
      );
  });

  return {
    get,
    getForHydration(key: string) {
      hydrating.add(key);
      renew(key);
      return intern(readServer(key));
    },
    subscribe: (listener) => on("change", () => listener()),
    ready,
    on,
    expose,
    track(metric, value = 1) {
      if (Number.isFinite(value)) record("metric", { metric, value });
    },
    identify(unit, { unitType: newType = unitType, attributes } = {}) {
      unitType = newType;
      held = rendered = kept.token = undefined;
      error = null;
      early.length = 0;
      hydrating.clear();
      changed();
      return begin(unit, attributes, false);
    },
    refresh: () => refresh(),
    flush,
    close() {
      stop.abort();
      path = "";
      clearTimeout(refreshTimer);
      clearTimeout(expiryTimer);
      stopEvents();
    },
  } as Edgeseal;
}

function readEmbedded(
  initial: EdgesealOptions["initial"] = "edgeseal",
): Partial<Embedded & NotEmbedded> | null {
  try {
    return typeof initial === "string" ? JSON.parse(document.getElementById(initial)!.textContent!) : initial;
  } catch {
    return null;
  }
}

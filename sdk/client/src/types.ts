/**
 * What applications see of this package: readings, events, options. Words as in docs/glossary.md.
 */

/** Any JSON value; payloads are this. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** Why something signed was refused, in the order in which it is checked (docs/protocol.md, "Verifying a token"). */
export type VerifyCode =
  | "E_MALFORMED"
  | "E_TYPE"
  | "E_KEY"
  | "E_SIGNATURE"
  | "E_EXPIRED"
  | "E_NOT_YET"
  | "E_AUDIENCE"
  | "E_SUBJECT"
  | "E_ROLLBACK"
  | "E_HALTED";

/** Why there is no answer from the edge, besides a refusal of what it said. */
export type FetchCode =
  /** Nothing came: offline, blocked, timed out, cut off. */
  | "E_NETWORK"
  /** Another status than the protocol's, among them 4xx, 5xx and 429. */
  | "E_HTTP"
  /** More than the protocol allows. */
  | "E_TOO_LARGE";

/** Every code that a reading or an event may carry. */
export type ErrorCode = VerifyCode | FetchCode;

/**
 * The experiments of an application, for typed keys. `edgeseal codegen ts` writes an augmentation:
 *
 * ```ts
 * declare module "@edgeseal/client" {
 *   interface Register {
 *     experiments: { checkout: { variant: "a" | "b"; payload: { label: string } | undefined } };
 *   }
 * }
 * ```
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- applications add to it
export interface Register {}

type Registered = Register extends { experiments: infer E }
  ? E
  : Record<string, { variant: string; payload: Json | undefined }>;

/** A key of an experiment; any string until {@link Register} is augmented. */
export type ExperimentKey = keyof Registered & string;
export type VariantOf<K extends ExperimentKey> = Registered[K] extends { variant: infer V extends string }
  ? V
  : string;
export type PayloadOf<K extends ExperimentKey> = Registered[K] extends { payload: infer P }
  ? P
  : Json | undefined;

/** Why a unit has its variant: the edge's reason, or the client's own for having none. */
export type Reason =
  // from the token
  | "split"
  | "sticky"
  | "forced"
  | "winner"
  // the client's
  /** Nothing verified yet. */
  | "loading"
  /** As the server rendered it; verification has not ended yet. */
  | "hydrating"
  /** The verified token says nothing of this experiment: the unit is not in it. */
  | "absent"
  /** Paused or ended by the status document. */
  | "halted"
  /** Kept from earlier in the session (drift policy `lock`). */
  | "locked"
  /** Nothing that verifies could be had; see the error. */
  | "error";

/** What a component needs to know of one experiment. Frozen; the same object until something in it changes. */
export interface Reading<K extends ExperimentKey = ExperimentKey> {
  readonly key: K;
  /** The variant to show, or null: show the default, count nothing. */
  readonly variant: VariantOf<K> | null;
  readonly payload: PayloadOf<K> | undefined;
  /**
   * `loading` until the first token was verified or refused; `ready` from then on, and while what the server rendered is
   * being verified; `error` when nothing that verifies could be had.
   */
  readonly status: "loading" | "ready" | "error";
  /** Signature, subject, time and halts all hold for `variant` (also for a null one: "not in it" is signed, too). */
  readonly isVerified: boolean;
  /** The edge has answered differently within this session. */
  readonly driftDetected: boolean;
  readonly reason: Reason;
  readonly error: ErrorCode | null;
}

export type DriftCause = "config_change" | "identity_change" | "rollback" | "unexplained";

/** What {@link Edgeseal.on} tells. */
export interface EventMap {
  /** Any reading may have changed. */
  change: undefined;
  /** The edge now answers differently than earlier in this session. */
  drift: { experiment: string; from: string | null; to: string | null; cause: DriftCause };
  /** A token of another unit arrived. It was dropped and asked for again past every cache. */
  leak: { subject: string; keyId: string; source: "embedded" | "storage" | "network" };
  /** Something could not be fetched or was refused. */
  error: { code: ErrorCode; what: "token" | "keyset" | "status" | "events"; detail: string };
  /** The unit saw its variant; told once a session for each experiment and variant. */
  exposure: { experiment: string; variant: string };
}

/** What a server embeds in its page, and what the client starts from without a request. */
export interface Embedded {
  readonly token: string;
  readonly keyset: string;
  readonly status?: string | undefined;
}

/** What a server embeds that could have no token in time: why, so that the first render has the same reading. */
export interface NotEmbedded {
  readonly error: ErrorCode;
}

/** A place to keep text; `localStorage` and `sessionStorage` are. May throw. */
export interface KeyValueStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export type DriftPolicy = "lock" | "accept" | "reload";

export interface EdgesealOptions {
  /** The environment, such as `production`. */
  environment: string;
  /** The environment's public root key: 32 bytes, base64url without padding. The one thing that is trusted. */
  rootKey: string;
  /** The unit's id: at most 256 bytes of UTF-8, no control characters. */
  unit: string;
  /** What kind of unit; `user` by default. */
  unitType?: string;
  /** Attributes for audiences, sent with the request; at most 4 KiB. */
  attributes?: Readonly<Record<string, Json>>;
  /** The edge, or the cache in front of it, such as `https://edge.example.com`. */
  edgeUrl: string;
  /** What the server embedded, or the id of its `<script type="application/json">`; `edgeseal` by default. */
  initial?: Embedded | NotEmbedded | string | null;
  /** What to do when the variant changes within a session; `lock` by default. */
  drift?: DriftPolicy;
  /** How to hear of pauses; `stream` by default, which falls back on polling. */
  updates?: "stream" | "poll" | "off";
  /** Milliseconds between polls of the status document; 10 000 by default. */
  pollIntervalMs?: number;
  /** Where tokens, unsent events and what was seen are kept; `localStorage` by default, null for nowhere. */
  storage?: KeyValueStorage | null;
  /** Where the session's variants are kept; `sessionStorage` by default. */
  sessionStorage?: KeyValueStorage | null;
  /** Sends exposures and metrics; true by default. */
  sendEvents?: boolean;
  /** For tests. */
  fetch?: typeof fetch;
  /** Unix milliseconds; `Date.now` by default. */
  now?: () => number;
}

/** A unit's view of one environment. Reads never throw and never wait. */
export interface Edgeseal {
  /** The state of one experiment. */
  get<K extends ExperimentKey>(key: K): Reading<K>;
  /**
   * For the first render over HTML that a server made: the reading that the server had, from what it embedded; it was
   * verified there. `get` then shows the same, as `hydrating`, until it is verified here, too. What was refused here is
   * not shown.
   */
  getForHydration<K extends ExperimentKey>(key: K): Reading<K>;
  /** Calls `listener` after any reading may have changed; returns the way to stop it. */
  subscribe(listener: () => void): () => void;
  /** Settles (never rejects) when the first token was verified, or could not be had. */
  readonly ready: Promise<void>;
  /** Tells of drift, leaks, errors; returns the way to stop it. */
  on<E extends keyof EventMap>(event: E, handler: (detail: EventMap[E]) => void): () => void;
  /**
   * Counts the unit's exposure to the variant it has; once a session. Call it when the variant is shown: while
   * hydrating, it is counted as soon as the variant is verified.
   */
  expose(key: ExperimentKey): void;
  /** Counts a metric event, with a value (1 by default). */
  track(metric: string, value?: number): void;
  /**
   * Another unit, after a login for instance; asks the edge, and labels what changes as `identity_change`. It shows
   * nothing of the unit before, and has none of its attributes; the unit type stays unless given.
   */
  identify(
    unit: string,
    options?: { unitType?: string; attributes?: Readonly<Record<string, Json>> },
  ): Promise<void>;
  /** Asks the edge now; settles when done, never rejects. */
  refresh(): Promise<void>;
  /** Sends what waits to be sent; settles when done, never rejects. */
  flush(): Promise<void>;
  /** Stops streams, timers and listeners. */
  close(): void;
}

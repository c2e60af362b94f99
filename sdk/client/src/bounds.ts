/** The numbers of this package, together: a bundler then writes each where it is used. */

/** Seconds that two clocks may be apart, as everywhere in the protocol. */
export const SKEW = 60;

/** Longest document that is read from the network; longer ones are broken off. */
export const MAX_CHARS = 256 * 1024;
/** Longest time for a request. */
export const TIMEOUT_MS = 10_000;
/** Longest wait between two tries, unless the edge asks for another, and the longest that it can ask for. */
export const MAX_RETRY_SECONDS = 60;
export const MAX_RETRY_AFTER_SECONDS = 3600;

/** Part of what is left of a token's life after which the next is asked for, and the shortest such time. */
export const REFRESH_AT = 0.8;
export const MIN_REFRESH_SECONDS = 30;
/** A page that comes back into view asks again when its token is older. */
export const STALE_SECONDS = 60;
/** Clients that hear of a new version at once ask within this time. */
export const SPREAD_SECONDS = 2;

/** Time between two requests for the status document where there is no stream, more or less. */
export const POLL_MS = 10_000;
/** A stream that says nothing for so long, three documents, is taken for dead. */
export const SILENCE_MS = 30_000;

/** Events that wait to be sent; beyond it the oldest are dropped. */
export const MAX_EVENTS = 1000;
export const MAX_BATCH_EVENTS = 100;
/** Browsers let a page that goes away send 64 KiB, all requests together. */
export const MAX_BATCH_CHARS = 48 * 1024;
/** Time from an event until it is sent, with what comes meanwhile. */
export const FLUSH_SECONDS = 5;

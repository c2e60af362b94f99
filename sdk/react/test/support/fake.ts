import type { Edgeseal, ExperimentKey, Reading } from "@edgeseal/client";

/** A client whose every reading the test decides, hydration included; `@edgeseal/client/testing` has no loading. */
export interface Fake extends Edgeseal {
  /** Changes what `get` says, and tells the subscribers. */
  set(key: string, change: Partial<Reading>): void;
  /** What the server rendered, not verified yet here. */
  hydrate(key: string, change: Partial<Reading>): void;
  readonly exposures: string[];
  readonly subscribers: number;
}

export function fakeEdgeseal(): Fake {
  const readings = new Map<string, Reading>();
  const hydrating = new Map<string, Reading>();
  const listeners = new Set<() => void>();
  const exposures: string[] = [];
  /** Exposed while hydrating. */
  const waiting = new Set<string>();
  let arrived!: () => void;
  const ready = new Promise<void>((resolve) => (arrived = resolve));

  const get = (key: string): Reading => {
    let reading = readings.get(key);
    if (!reading) readings.set(key, (reading = { ...loading, key }));
    return reading;
  };
  return {
    get: get as Edgeseal["get"],
    getForHydration: ((key: string) => {
      // As the real one: from here on `get` says the same, but not verified, until verification ends.
      const reading = hydrating.get(key);
      if (reading && get(key).reason === "loading")
        readings.set(key, { ...reading, isVerified: false, reason: "hydrating" });
      return reading ?? get(key);
    }) as Edgeseal["getForHydration"],
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    ready,
    on: () => () => {},
    expose(key: ExperimentKey) {
      if (get(key).reason === "hydrating") waiting.add(key);
      else exposures.push(key);
    },
    track: () => {},
    identify: async () => {},
    refresh: async () => {},
    flush: async () => {},
    close: () => {},
    set(key, change) {
      const next = { ...loading, key, ...verified, ...change };
      const rendered = hydrating.get(key);
      readings.set(key, JSON.stringify(next) === JSON.stringify(rendered) ? rendered! : next);
      if (waiting.delete(key) && next.isVerified) exposures.push(key);
      arrived();
      for (const listener of [...listeners]) listener();
    },
    hydrate(key, change) {
      hydrating.set(key, { ...loading, key, ...verified, ...change });
    },
    exposures,
    get subscribers() {
      return listeners.size;
    },
  };
}

const loading: Reading = {
  key: "",
  variant: null,
  payload: undefined,
  status: "loading",
  isVerified: false,
  driftDetected: false,
  reason: "loading",
  error: null,
};

const verified = { status: "ready", isVerified: true, reason: "split" } as const;

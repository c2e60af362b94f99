/** A client for the tests of an application: no network, no keys. */
import type { Edgeseal, EventMap, Reading } from "./types.js";

/** A variant's key, or parts of the reading that an experiment shall have. */
export type MockValue =
  string | null | (Omit<Partial<Reading>, "key" | "variant"> & { variant: string | null });

/** What `createMockEdgeseal` gives: an {@link Edgeseal} that can be told what to say, and tells what it was told. */
export interface MockEdgeseal extends Edgeseal {
  /** Gives an experiment another variant and tells the listeners. */
  set(key: string, value: MockValue): void;
  /** Makes the client tell of an event. */
  emit<E extends keyof EventMap>(event: E, detail: EventMap[E]): void;
  /** Keys of the experiments that were exposed, each once. */
  readonly exposures: string[];
  /** Metric events, in their order. */
  readonly tracked: { metric: string; value: number }[];
  /** The units that `identify` was called with. */
  readonly identified: string[];
}

/**
 * ```ts
 * const edgeseal = createMockEdgeseal({ checkout: "b" });
 * edgeseal.get("checkout").variant; // "b"
 * edgeseal.get("search").reason; // "absent"
 * edgeseal.set("checkout", { variant: null, reason: "halted" });
 * ```
 */
export function createMockEdgeseal(values: Readonly<Record<string, MockValue>> = {}): MockEdgeseal {
  const readings = new Map<string, Reading>();
  const handlers = new Set<[event: string, handler: (detail: never) => void]>();
  const exposures: string[] = [];
  const tracked: MockEdgeseal["tracked"] = [];
  const identified: string[] = [];

  const put = (key: string, value: MockValue) => {
    const parts = typeof value === "object" && value ? value : { variant: value };
    const reading = {
      key,
      payload: undefined,
      status: "ready",
      isVerified: true,
      driftDetected: false,
      reason: parts.variant === null ? "absent" : "split",
      error: null,
      ...parts,
    };
    readings.set(key, Object.freeze(reading) as Reading);
  };
  const get = (key: string): Reading => {
    if (!readings.has(key)) put(key, null);
    return readings.get(key)!;
  };
  const on = (event: string, handler: (detail: never) => void) => {
    const entry: [string, typeof handler] = [event, handler];
    handlers.add(entry);
    return () => void handlers.delete(entry);
  };
  const emit = (event: string, detail: unknown) => {
    for (const [name, handler] of [...handlers]) if (name === event) handler(detail as never);
  };

  for (const [key, value] of Object.entries(values)) put(key, value);
  return {
    get,
    getForHydration: get,
    subscribe: (listener: () => void) => on("change", () => listener()),
    ready: Promise.resolve(),
    on,
    emit,
    set(key: string, value: MockValue) {
      put(key, value);
      emit("change", undefined);
    },
    expose(key: string) {
      const { variant, isVerified } = get(key);
      if (variant === null || !isVerified || exposures.includes(key)) return;
      exposures.push(key);
      emit("exposure", { experiment: key, variant });
    },
    track: (metric: string, value = 1) => void tracked.push({ metric, value }),
    identify: async (unit: string) => void identified.push(unit),
    refresh: async () => {},
    flush: async () => {},
    close: () => handlers.clear(),
    exposures,
    tracked,
    identified,
  } as unknown as MockEdgeseal;
}

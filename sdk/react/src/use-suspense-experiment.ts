"use client";

import type { Edgeseal, ExperimentKey, Reading } from "@edgeseal/client";
import { useEdgeseal } from "./provider.js";
import { useExperiment, type ExposureOptions } from "./use-experiment.js";

/**
 * As {@link useExperiment}, but suspends while there is nothing verified yet. What the server rendered is shown at
 * once. It never rejects: without an answer the reading says so.
 */
export function useSuspenseExperiment<K extends ExperimentKey>(
  key: K,
  options?: ExposureOptions,
): Reading<K> {
  const client = useEdgeseal();
  const reading = useExperiment(key, options);
  if (reading.status === "loading" && reading.reason === "loading") throw nextChange(client);
  return reading;
}

const pending = new WeakMap<Edgeseal, Promise<void>>();

/** Settles when any reading may have changed; the same promise for every component that waits. */
function nextChange(client: Edgeseal): Promise<void> {
  const known = pending.get(client);
  if (known) return known;
  const promise = new Promise<void>((resolve) => {
    const stop = client.subscribe(() => {
      stop();
      pending.delete(client);
      resolve();
    });
  });
  pending.set(client, promise);
  return promise;
}

"use client";

import type { ExperimentKey, Reading } from "@edgeseal/client";
import { useEffect, useSyncExternalStore } from "react";
import { useEdgeseal } from "./provider.js";

export interface ExposureOptions {
  /** Counts the unit's exposure once its variant is on the screen; true by default. */
  expose?: boolean;
}

/**
 * The state of one experiment, up to date. The first render over a server's HTML has the reading that the
 * server had, and keeps it while it verifies.
 *
 * ```tsx
 * const { variant, payload } = useExperiment("checkout-button");
 * ```
 */
export function useExperiment<K extends ExperimentKey>(
  key: K,
  { expose = true }: ExposureOptions = {},
): Reading<K> {
  const client = useEdgeseal();
  const getForHydration = () => client.getForHydration(key);
  const get = () => {
    const reading = client.get(key);
    // Until it is verified: nothing on the screen that the server did not render.
    return reading.reason === "hydrating" ? getForHydration() : reading;
  };
  const reading = useSyncExternalStore(client.subscribe, get, getForHydration);
  // The whole reading, not its variant: another unit with the same variant is another exposure.
  useEffect(() => {
    if (expose && reading.isVerified && reading.variant !== null) client.expose(key);
  }, [client, key, expose, reading]);
  return reading;
}

"use client";

import type { ExperimentKey, PayloadOf, VariantOf } from "@edgeseal/client";
import { useExperiment, type ExposureOptions } from "./use-experiment.js";

/** What {@link useFlag} gives: the payload where every variant has one, else the payload or the variant's key. */
export type Flag<K extends ExperimentKey> = [PayloadOf<K>] extends [NonNullable<PayloadOf<K>>]
  ? PayloadOf<K>
  : NonNullable<PayloadOf<K>> | VariantOf<K>;

/** An experiment as a value: its payload, else its variant's key, else `fallback`. */
export function useFlag<K extends ExperimentKey, F>(
  key: K,
  fallback: F,
  options?: ExposureOptions,
): Flag<K> | F {
  const { payload, variant } = useExperiment(key, options);
  return (payload ?? variant ?? fallback) as Flag<K> | F;
}

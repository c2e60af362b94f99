import type { Edgeseal, ExperimentKey, Reading } from "@edgeseal/client";

/** Begins every key of {@link assignmentQueryOptions}: what to invalidate when the client says that it changed. */
export const assignmentQueryKey = ["edgeseal"] as const;

/**
 * Options for TanStack Query's `useQuery`, for applications that keep everything in it. The query reads the client
 * and asks no server, so that it is cheap to invalidate:
 *
 * ```ts
 * client.subscribe(() => queryClient.invalidateQueries({ queryKey: assignmentQueryKey }));
 * ```
 *
 * A query does not know what is on the screen: call `client.expose(key)` where the variant is shown.
 */
export function assignmentQueryOptions<K extends ExperimentKey>(client: Edgeseal, key: K) {
  return {
    queryKey: [...assignmentQueryKey, key] as const,
    queryFn: async (): Promise<Reading<K>> => {
      await client.ready;
      return client.get(key);
    },
    // What is there already is shown at once.
    initialData: (): Reading<K> | undefined => {
      const reading = client.get(key);
      return reading.status === "loading" ? undefined : reading;
    },
    staleTime: Infinity,
    // Reading the client works offline.
    networkMode: "always" as const,
    retry: false,
    // Readings are frozen and keep their identity themselves.
    structuralSharing: false,
  };
}

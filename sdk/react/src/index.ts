/**
 * React adapter of `@edgeseal/client`. The client decides what a unit sees; the hooks only subscribe to it.
 */
export { EdgesealProvider, useEdgeseal } from "./provider.js";
export { useExperiment, type ExposureOptions } from "./use-experiment.js";
export { useSuspenseExperiment } from "./use-suspense-experiment.js";
export { useFlag, type Flag } from "./use-flag.js";
export { assignmentQueryOptions, assignmentQueryKey } from "./query.js";

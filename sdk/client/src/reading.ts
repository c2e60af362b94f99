import { isHalted, type Halts } from "./status.js";
import type { ErrorCode, Reading } from "./types.js";
import type { Assignment } from "./verify.js";

/**
 * One experiment, on the server as in the browser: what a token (`isThere`: there is one) has `found` for the unit, with
 * its own reason, unless `halts` or an error speak against it.
 */
export function readingOf(
  key: string,
  isThere: boolean,
  found: (Omit<Assignment, "reason"> & { reason: Reading["reason"] }) | undefined,
  halts: Halts | null | undefined,
  error: ErrorCode | null | undefined,
): Reading {
  if (isThere && halts && isHalted(halts, key, found?.version!)) error = "E_HALTED";
  if (error) found = undefined;
  const isRefused = error && error !== "E_HALTED";
  return {
    key,
    variant: found?.variant ?? null,
    payload: found?.payload,
    status: isThere ? "ready" : error ? "error" : "loading",
    isVerified: isThere && !isRefused,
    driftDetected: false,
    reason: isRefused ? "error" : error ? "halted" : isThere ? (found?.reason ?? "absent") : "loading",
    error: error ?? null,
  } as Reading;
}

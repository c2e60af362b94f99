/** Signed experiment assignments in the browser: verified here, never another user's. */
export { createEdgeseal } from "./edgeseal.js";
export { EdgesealError } from "./errors.js";
export { verifyKeyset, type Key, type Keyset, type VerifyKeysetOptions } from "./keyset.js";
export { verifyStatus, type Status, type VerifyStatusOptions } from "./status.js";
export { subjectTag } from "./subject.js";
export type * from "./types.js";
export {
  verifyAssignmentToken,
  type Assignment,
  type Memory,
  type VerifiedToken,
  type VerifyTokenOptions,
} from "./verify.js";

import type { VerifyCode } from "./types.js";

/** Something signed was refused. The code is stable; the message is for people. */
export class EdgesealError extends Error {
  constructor(
    /** Why. */
    readonly code: VerifyCode,
    detail?: unknown,
    /** For `E_SUBJECT`: the tag of the unit that the token is for, and the key that signed it. */
    readonly leak?: { readonly subject: string; readonly keyId: string },
  ) {
    super(code + " " + detail);
  }
}

export function fail(...why: ConstructorParameters<typeof EdgesealError>): never {
  throw new EdgesealError(...why);
}

/** What `read` gives. Whatever else than a refusal it throws means that it was given something malformed. */
export async function reading<T>(read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof EdgesealError ? error : new EdgesealError("E_MALFORMED", error);
  }
}

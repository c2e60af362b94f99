import { MAX_CHARS, MAX_RETRY_AFTER_SECONDS, MAX_RETRY_SECONDS, TIMEOUT_MS } from "./bounds.js";
import { fail } from "./errors.js";
import type { FetchCode } from "./types.js";

/** An answer with another status than the protocol's. Whatever else keeps an answer away has no code of its own. */
export interface Failure extends Error {
  code: FetchCode;
  status: number;
  /** Seconds, as `Retry-After` asks. */
  after: number;
}

/** Seconds to wait after the nth failure, counted from 0. */
export const backoff = (attempt: number, after = 0): number =>
  Math.max(Math.min(MAX_RETRY_SECONDS, 2 ** attempt * (1 + Math.random())), after);

/** Gets a signed document, or posts a body and gets nothing. */
export async function request(fetcher: typeof fetch, url: string, init: RequestInit): Promise<string> {
  const { status, headers, body } = await fetcher(url, {
    credentials: "omit",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...init,
  });
  if (status !== (init.body ? 202 : 200)) {
    const later = headers.get("retry-after")!;
    const after = Math.min(+later || (Date.parse(later) - Date.now()) / 1000 || 0, MAX_RETRY_AFTER_SECONDS);
    throw Object.assign(Error("status " + status), { code: "E_HTTP", status, after });
  }
  let text = "";
  if (!init.body) {
    if (!/^application\/jwt\b/.test(headers.get("content-type")!)) fail("E_MALFORMED", "content type");
    const reader = body!.getReader();
    for (let part; !(part = await reader.read()).done;) {
      text += new TextDecoder().decode(part.value);
      if (text.length > MAX_CHARS) {
        void reader.cancel();
        fail("E_TOO_LARGE" as never);
      }
    }
  }
  return text;
}

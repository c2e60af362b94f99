import { FLUSH_SECONDS, MAX_BATCH_CHARS, MAX_BATCH_EVENTS, MAX_EVENTS } from "./bounds.js";
import type { Store } from "./storage.js";
import { backoff, type Failure } from "./transport.js";

export interface Event {
  /** A UUID. */
  id: string;
}

/** Events by the token that was in force when they happened, the oldest first. */
type Queue = Record<string, Event[]>;

/** A UUID of version 7 (RFC 9562): begins with the time, so that stores append. */
export const uuid7 = (ms: number): string =>
  ms.toString(16).padStart(12, "0").replace(/.{8}/, "$&-") + "-7" + crypto.randomUUID().slice(15);

/**
 * What waits to be sent, kept in `store` under `name` until the edge has taken it. Tabs share it: what two of them
 * send, the edge counts once, by id. Beyond {@link MAX_EVENTS} the oldest are dropped.
 */
export function createEvents(
  store: Store,
  name: string,
  post: (body: string) => Promise<unknown>,
  failed: (reason: unknown) => void,
): [add: (token: string, event: Event) => void, flush: () => Promise<void>, stop: () => void] {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let flushing: Promise<void> | undefined;
  let attempt = 0;

  const load = (): Queue => {
    const queue = store.get(name);
    return queue instanceof Object ? queue : {};
  };
  const plan = (seconds: number) => void (timer ??= setTimeout(flush, seconds * 1000));
  const stop = () => (timer = clearTimeout(timer) as undefined);

  async function send(): Promise<void> {
    for (let queue: Queue; Object.keys((queue = load()))[0];) {
      // The newest first: a page that goes away has time for one batch, and older ones had it when theirs went.
      const [token, events] = Object.entries(queue).at(-1)!;
      let body: string;
      let size = MAX_BATCH_EVENTS;
      do body = JSON.stringify({ token, events: events.slice(0, size) });
      while (body.length > MAX_BATCH_CHARS && (size >>= 1));
      try {
        await post(body);
        attempt = 0;
      } catch (reason) {
        failed(reason);
        const { status, after } = reason as Failure;
        // 404: an edge that takes no events yet. Other refusals would only be repeated.
        if (!/^4(?!04|29)/.test(status as never)) return plan(backoff(attempt++, after));
      }
      queue = load();
      queue[token] = queue[token]!.filter(({ id }) => !body.includes(id));
      if (!queue[token].length) delete queue[token];
      store.set(name, queue);
    }
  }

  function flush(): Promise<void> {
    stop();
    // A queue that somebody wrote into is given up.
    return (flushing ??= send()
      .catch(() => void store.set(name, {}))
      .finally(() => (flushing = undefined)));
  }

  return [
    (token, event) => {
      const queue = load();
      (queue[token] ??= []).push(event);
      const all = Object.values(queue);
      if (all.flat().length > MAX_EVENTS) all[0]!.shift();
      store.set(name, queue);
      plan(FLUSH_SECONDS);
    },
    flush,
    stop,
  ];
}

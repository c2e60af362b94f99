import { SILENCE_MS } from "./bounds.js";

/**
 * Hears of status documents: one stream for all tabs, whose holder tells the others; and asks for them where there is
 * no stream, or silence.
 */
export function watchStatus(
  name: string,
  streamUrl: string | false,
  intervalMs: number,
  hear: (jws: string) => void,
  ask: () => void,
  stop: AbortController,
): void {
  let timer: ReturnType<typeof setTimeout>;
  let source: EventSource | undefined;
  let channel: BroadcastChannel | undefined;
  let heardAt = 0;

  const heard = ({ data }: MessageEvent) => {
    heardAt = Date.now();
    hear(data);
  };

  const open = () => {
    try {
      source = new EventSource(streamUrl as string);
    } catch {
      return; // not a URL: asking says so
    }
    source.addEventListener("status", (event) => {
      heard(event);
      channel?.postMessage(event.data);
    });
    source.onerror = () => (heardAt = 0);
  };

  const tick = () => {
    // Closed for good, by an answer that is no stream.
    if (source?.readyState === 2) open();
    if (Date.now() - heardAt > SILENCE_MS) ask();
    timer = setTimeout(tick, intervalMs * (0.8 + 0.4 * Math.random()));
  };

  if (streamUrl && globalThis.EventSource) {
    heardAt = Date.now();
    try {
      channel = new BroadcastChannel(name);
      channel.onmessage = heard;
      navigator.locks
        .request(name, stop, () => {
          open();
          return new Promise((resolve) => stop.signal.addEventListener("abort", resolve));
        })
        // Denied, as in a sandboxed frame: a stream of one's own.
        .catch(() => stop.signal.aborted || open());
    } catch {
      open();
    }
  }
  tick();

  stop.signal.addEventListener("abort", () => {
    source?.close();
    channel?.close();
    clearTimeout(timer);
  });
}

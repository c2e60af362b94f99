// A proxy that writes down what went over the wire: a client's own report of a 304 would be hearsay.
import { createServer, request } from 'node:http';

/** Forwards everything to `target`; `exchanges` grows by one entry for each finished answer. */
export async function startRecordingProxy(target) {
  const exchanges = [];
  const server = createServer((incoming, outgoing) => {
    const upstream = request(
      new URL(incoming.url, target),
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        let bytes = 0;
        answer.on('data', (chunk) => (bytes += chunk.length));
        answer.on('end', () =>
          exchanges.push({
            status: answer.statusCode,
            etag: answer.headers.etag,
            ifNoneMatch: incoming.headers['if-none-match'],
            bytes,
          }),
        );
        answer.pipe(outgoing);
      },
    );
    upstream.on('error', () => outgoing.destroy());
    incoming.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    exchanges,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// A real edge for a test: the binary on a free port, with its own experiments and a data directory that goes away.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fromHere = (path) => fileURLToPath(new URL(path, import.meta.url));

const binary = process.env.EDGESEAL_BIN ?? fromHere('../../../target/debug/edgeseal');
export const experimentsFile = fromHere('../../experiments.yaml');

const readyWithinMs = 20_000;
const pollEveryMs = 25;

/** Starts an edge and waits until it is ready. `dataDir` keeps keys and snapshot across two starts. */
export async function startEdge({ experiments = experimentsFile, dataDir } = {}) {
  const ownDataDir = dataDir ?? (await temporaryDirectory());
  const listen = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    binary,
    ['serve', '--experiments', experiments, '--data-dir', ownDataDir, '--listen', listen, '--control-listen', '127.0.0.1:0'],
    { env: withoutSettings(process.env), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const gone = new Promise((resolve) => {
    child.on('error', (error) => resolve(`cannot start ${binary}: ${error.message}`));
    child.on('exit', (code, signal) => resolve(`the edge ended with ${signal ?? code}:\n${output}`));
  });
  const killWithParent = () => child.kill('SIGKILL');
  process.on('exit', killWithParent);

  const url = `http://${listen}`;
  await ready(url, gone);

  return {
    url,
    async stop() {
      process.off('exit', killWithParent);
      child.kill('SIGTERM');
      await gone;
      if (dataDir === undefined) await rm(ownDataDir, { recursive: true });
    },
  };
}

export async function temporaryDirectory() {
  return mkdtemp(join(tmpdir(), 'edgeseal-interop-'));
}

async function ready(url, gone) {
  let ended;
  gone.then((message) => (ended = message));
  const deadline = Date.now() + readyWithinMs;
  for (;;) {
    if (ended) throw new Error(ended);
    const answer = await fetch(`${url}/readyz`).catch(() => undefined);
    if (answer?.ok) return;
    if (Date.now() > deadline) throw new Error(`the edge at ${url} is not ready after ${readyWithinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, pollEveryMs));
  }
}

// Settings of the developer's own shell must not reach the edge under test.
function withoutSettings(environment) {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('EDGESEAL_')));
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

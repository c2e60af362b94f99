// OFREP as bytes: what the providers do not show, above all the ETag and the refusals.
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { experimentsFile, startEdge, temporaryDirectory } from './support/edge.js';

const user = { targetingKey: 'user-1', country: 'de', cart: { items: 2 } };

describe('the bulk ETag', () => {
  let directory, edge, first;
  const files = () => ({ experiments: join(directory, 'experiments.yaml'), dataDir: join(directory, 'data') });

  before(async () => {
    directory = await temporaryDirectory();
    await writeFile(files().experiments, await readFile(experimentsFile));
    edge = await startEdge(files());
    first = await bulk(user);
  });
  after(async () => {
    await edge?.stop();
    await rm(directory, { recursive: true });
  });

  it('comes with the answer, which no shared cache may keep', () => {
    assert.equal(first.status, 200);
    assert.match(first.headers.get('etag'), /^"[^"]+"$/);
    assert.match(first.headers.get('cache-control'), /no-store|private/);
    assert.equal(first.headers.get('set-cookie'), null);
  });

  it('answers 304 without a body for the same context', async () => {
    const again = await bulk(user, etag());
    assert.deepEqual([again.status, again.headers.get('etag'), again.text], [304, etag(), '']);
  });

  it('answers 304 to a weak tag, a list, and a star (RFC 9110, 13.1.2)', async () => {
    for (const condition of [`W/${etag()}`, `"other", ${etag()}`, '*']) {
      assert.equal((await bulk(user, condition)).status, 304, condition);
    }
  });

  it('does not depend on the order of members', async () => {
    const reordered = { cart: { items: 2 }, country: 'de', targetingKey: 'user-1' };
    assert.equal((await bulk(reordered, etag())).status, 304);
  });

  for (const [what, context] of [
    ['another unit', { ...user, targetingKey: 'user-2' }],
    ['another attribute value', { ...user, country: 'at' }],
    ['an attribute that no audience looks at', { ...user, plan: 'pro' }],
    ['a nested attribute', { ...user, cart: { items: 3 } }],
    ['a missing attribute', { targetingKey: 'user-1', country: 'de' }],
    ['another unit type', { ...user, unitType: 'device' }],
  ]) {
    it(`answers 200 with another tag for ${what}`, async () => {
      const other = await bulk(context, etag());
      assert.equal(other.status, 200);
      assert.notEqual(other.headers.get('etag'), etag());
    });
  }

  it('survives a restart with the same experiments', async () => {
    await restart();
    assert.equal((await bulk(user, etag())).status, 304);
  });

  it('is another one after the snapshot changed, even if no value did', async () => {
    const text = await readFile(files().experiments, 'utf8');
    await writeFile(files().experiments, text.replace('payload: 10 }', 'payload: 11 }'));
    await restart();
    const next = await bulk(user, etag());
    assert.equal(next.status, 200);
    assert.notEqual(next.headers.get('etag'), etag());
  });

  const etag = () => first.headers.get('etag');
  const bulk = (context, ifNoneMatch) => post(edge.url, '/ofrep/v1/evaluate/flags', { context }, ifNoneMatch);
  const restart = async () => {
    await edge.stop();
    edge = await startEdge(files());
  };
});

describe('OFREP on the wire', () => {
  let edge;
  before(async () => (edge = await startEdge()));
  after(() => edge?.stop());

  const one = (key, body) => post(edge.url, `/ofrep/v1/evaluate/flags/${key}`, body);
  const all = (body) => post(edge.url, '/ofrep/v1/evaluate/flags', body);

  it('answers a flag with value, variant and reason', async () => {
    const answer = await one('page-size', { context: user });
    assert.equal(answer.status, 200);
    const { key, value, variant, reason } = answer.json;
    assert.deepEqual({ key, value, variant, reason }, { key: 'page-size', value: 25, variant: 'treatment', reason: 'SPLIT' });
  });

  it('keeps a double without a fraction a double', async () => {
    assert.match((await one('whole-factor', { context: user })).text, /"value":2\.0[,}]/);
  });

  it('leaves the value out when the unit is not in the experiment', async () => {
    for (const [key, reasons] of [
      ['paused-flag', ['DISABLED']],
      ['eu-banner', ['DEFAULT', 'UNKNOWN']],
      ['device-hint', ['DEFAULT', 'UNKNOWN']],
    ]) {
      const answer = await one(key, { context: { targetingKey: 'user-1' } });
      assert.equal(answer.status, 200, key);
      assert.equal('value' in answer.json, false, key);
      assert.ok(reasons.includes(answer.json.reason), `${key}: ${answer.json.reason}`);
    }
  });

  it('answers all flags at once with what it answers for each', async () => {
    const { status, json } = await all({ context: user });
    assert.equal(status, 200);
    assert.equal(json.flags.length, 11);
    for (const flag of json.flags) {
      assert.deepEqual(flag, (await one(flag.key, { context: user })).json);
    }
  });

  it('allows metadata of scalars only', async () => {
    const { json } = await all({ context: user });
    for (const metadata of [json.metadata, ...json.flags.map((flag) => flag.metadata)]) {
      for (const value of Object.values(metadata ?? {})) {
        assert.ok(['string', 'number', 'boolean'].includes(typeof value), JSON.stringify(metadata));
      }
    }
  });

  const large = { targetingKey: 'user-1', note: 'x'.repeat(5000) };
  for (const [what, body, code] of [
    ['a body that is no JSON', '{"context":', 'PARSE_ERROR'],
    ['an empty body', '', 'PARSE_ERROR'],
    ['two documents', '{"context":{"targetingKey":"a"}} {}', 'PARSE_ERROR'],
    ['a repeated member', '{"context":{"targetingKey":"a","targetingKey":"b"}}', 'PARSE_ERROR'],
    ['a body that is no object', '[]', 'PARSE_ERROR'],
    ['no context', '{}', 'TARGETING_KEY_MISSING'],
    ['a context without targeting key', { context: { country: 'de' } }, 'TARGETING_KEY_MISSING'],
    ['an empty targeting key', { context: { targetingKey: '' } }, 'TARGETING_KEY_MISSING'],
    ['a context that is no object', { context: 'user-1' }, 'INVALID_CONTEXT'],
    ['a targeting key that is no string', { context: { targetingKey: 7 } }, 'INVALID_CONTEXT'],
    ['a control character in the targeting key', { context: { targetingKey: 'a\nb' } }, 'INVALID_CONTEXT'],
    ['a targeting key of 257 bytes', { context: { targetingKey: 'x'.repeat(257) } }, 'INVALID_CONTEXT'],
    ['a unit type that is no name', { context: { targetingKey: 'a', unitType: 'a b' } }, 'INVALID_CONTEXT'],
    ['more than 4 KiB of attributes', { context: large }, 'INVALID_CONTEXT'],
  ]) {
    it(`refuses ${what} with ${code}, for one flag and for all`, async () => {
      const single = await one('page-size', body);
      assert.deepEqual([single.status, single.json.key, single.json.errorCode], [400, 'page-size', code]);
      assert.ok(single.json.errorDetails, 'the refusal says why');
      const bulk = await all(body);
      assert.deepEqual([bulk.status, bulk.json.errorCode], [400, code]);
      assert.ok(bulk.json.errorDetails, 'the refusal says why');
    });
  }

  it('refuses an unknown flag with FLAG_NOT_FOUND', async () => {
    const { status, json } = await one('no-such-flag', { context: user });
    assert.deepEqual([status, json.key, json.errorCode], [404, 'no-such-flag', 'FLAG_NOT_FOUND']);
    assert.ok(json.errorDetails);
  });

  it('refuses a body beyond 64 KiB with a 4xx', async () => {
    const { status } = await all({ context: { targetingKey: 'a', note: 'x'.repeat(70_000) } });
    assert.ok(status >= 400 && status < 500, `status ${status}`);
  });
});

async function post(base, path, body, ifNoneMatch) {
  const answer = await fetch(new URL(path, base), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(ifNoneMatch && { 'if-none-match': ifNoneMatch }) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  const isJson = answer.headers.get('content-type')?.startsWith('application/json');
  return { status: answer.status, headers: answer.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

// The OpenFeature web SDK with the OFREP web provider: one bulk request for a context, polled with its ETag.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { ErrorCode, OpenFeature, StandardResolutionReasons } from '@openfeature/web-sdk';

import { assertError, assertValue } from './support/details.js';
import { startEdge } from './support/edge.js';
import { startRecordingProxy } from './support/recording-proxy.js';

const pollInterval = 20;
const user = { targetingKey: 'user-1', country: 'de' };

describe('the OpenFeature web SDK over OFREP', () => {
  let edge, proxy, client;

  before(async () => {
    edge = await startEdge();
    proxy = await startRecordingProxy(edge.url);
    await OpenFeature.setContext(user);
    await OpenFeature.setProviderAndWait(provider({ pollInterval }));
    client = OpenFeature.getClient();
  });
  after(async () => {
    await OpenFeature.close();
    await proxy?.stop();
    await edge?.stop();
  });

  // No local storage in node, and none wanted: every answer must come from the edge.
  const provider = (options) =>
    new OFREPWebProvider({ baseUrl: proxy.url, cacheMode: 'disabled', changeDetection: 'polling', ...options });

  it('evaluates a boolean', () => {
    const details = client.getBooleanDetails('checkout-button', false);
    assert.equal(details.errorCode, undefined, details.errorMessage);
    assert.equal(details.reason, StandardResolutionReasons.SPLIT);
    assert.equal(details.value, details.variant === 'treatment');
  });

  it('evaluates a string', () => {
    assertValue(client.getStringDetails('button-label', 'none'), 'Jetzt kaufen – 买', 'treatment');
  });

  it('evaluates an integer', () => {
    assertValue(client.getNumberDetails('page-size', 1), 25, 'treatment');
  });

  it('evaluates a double', () => {
    assertValue(client.getNumberDetails('price-factor', 1), 0.875, 'treatment');
  });

  it('evaluates an object', () => {
    const layout = { columns: 3, theme: { accent: '#0a7', dark: true }, order: ['hero', 'list'] };
    assertValue(client.getObjectDetails('page-layout', {}), layout, 'treatment');
  });

  it('gives the variant key for a variant without payload', () => {
    assertValue(client.getStringDetails('ranking', 'none'), 'personal', 'personal');
  });

  it('gives the winner of a stopped experiment', () => {
    assertValue(client.getBooleanDetails('settled-flag', false), true, 'treatment');
  });

  it('uses the code default for a paused experiment, without an error', () => {
    for (const fallback of [false, true]) {
      const details = client.getBooleanDetails('paused-flag', fallback);
      assert.deepEqual([details.value, details.errorCode], [fallback, undefined]);
      assert.equal(details.reason, StandardResolutionReasons.DISABLED);
    }
  });

  it('uses the code default for an experiment of another unit type, without an error', () => {
    const details = client.getBooleanDetails('device-hint', true);
    assert.deepEqual([details.value, details.errorCode], [true, undefined]);
  });

  it('reports FLAG_NOT_FOUND', () => {
    assertError(client.getBooleanDetails('no-such-flag', true), true, ErrorCode.FLAG_NOT_FOUND);
  });

  it('reports TYPE_MISMATCH', () => {
    assertError(client.getBooleanDetails('page-size', true), true, ErrorCode.TYPE_MISMATCH);
  });

  it('polls with its ETag and is answered 304 without a body', async () => {
    const answered = await nextExchange((exchange) => exchange.status === 304);
    assert.ok(answered.ifNoneMatch, 'the provider sent the ETag that it had');
    assert.equal(answered.etag, answered.ifNoneMatch);
    assert.equal(answered.bytes, 0);
    assertValue(client.getNumberDetails('page-size', 1), 25, 'treatment');
  });

  // The provider keeps its ETag when only attributes change, so an edge that forgot them would say 304 here.
  it('is answered 200 when an attribute changed although the unit is the same', async () => {
    assertValue(client.getBooleanDetails('eu-banner', false), true, 'treatment');
    const unchanged = await nextExchange((exchange) => exchange.status === 304);
    const from = proxy.exchanges.length;
    await OpenFeature.setContext({ ...user, country: 'fr' });
    const answered = proxy.exchanges.slice(from).find((exchange) => exchange.status === 200);
    assert.ok(answered, 'the changed context was answered in full');
    assert.notEqual(answered.etag, unchanged.etag);
    const details = client.getBooleanDetails('eu-banner', false);
    assert.deepEqual([details.value, details.errorCode], [false, undefined]);
    await OpenFeature.setContext(user);
    assertValue(client.getBooleanDetails('eu-banner', false), true, 'treatment');
  });

  it('refuses to start without a targeting key', async () => {
    await OpenFeature.setContext('anonymous', { country: 'de' });
    await assert.rejects(OpenFeature.setProviderAndWait('anonymous', provider()));
    assert.equal(OpenFeature.getClient('anonymous').getBooleanValue('checkout-button', true), true);
  });

  async function nextExchange(wanted, from = proxy.exchanges.length) {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const found = proxy.exchanges.slice(from).find(wanted);
      if (found) return found;
      assert.ok(Date.now() < deadline, 'no such exchange within 10 s');
      await new Promise((resolve) => setTimeout(resolve, pollInterval));
    }
  }
});

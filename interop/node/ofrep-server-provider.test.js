// The OpenFeature server SDK with the OFREP provider: one request for each evaluation.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { OFREPProvider } from '@openfeature/ofrep-provider';
import { ErrorCode, OpenFeature, StandardResolutionReasons } from '@openfeature/server-sdk';

import { assertError, assertValue } from './support/details.js';
import { startEdge } from './support/edge.js';

const user = { targetingKey: 'user-1' };

describe('the OpenFeature server SDK over OFREP', () => {
  let edge, client;

  before(async () => {
    edge = await startEdge();
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: edge.url }));
    client = OpenFeature.getClient();
  });
  after(async () => {
    await OpenFeature.close();
    await edge?.stop();
  });

  it('evaluates a boolean, the same one that the signed token holds', async () => {
    const seen = new Set();
    for (let n = 0; n < 40; n += 1) {
      const targetingKey = `user-${n}`;
      const details = await client.getBooleanDetails('checkout-button', false, { targetingKey });
      const signed = (await assignments(targetingKey))['checkout-button'];
      assert.equal(details.errorCode, undefined);
      assert.equal(details.reason, StandardResolutionReasons.SPLIT);
      assert.deepEqual([details.variant, details.value], [signed.v, signed.p]);
      seen.add(details.value);
    }
    assert.equal(seen.size, 2, 'forty units fall into both halves');
  });

  it('evaluates a string', async () => {
    const details = await client.getStringDetails('button-label', 'none', user);
    assertValue(details, 'Jetzt kaufen – 买', 'treatment');
  });

  it('evaluates an integer', async () => {
    assertValue(await client.getNumberDetails('page-size', 1, user), 25, 'treatment');
  });

  it('evaluates a double', async () => {
    assertValue(await client.getNumberDetails('price-factor', 1, user), 0.875, 'treatment');
  });

  it('evaluates an object', async () => {
    const layout = { columns: 3, theme: { accent: '#0a7', dark: true }, order: ['hero', 'list'] };
    assertValue(await client.getObjectDetails('page-layout', {}, user), layout, 'treatment');
  });

  it('gives the variant key for a variant without payload', async () => {
    assertValue(await client.getStringDetails('ranking', 'none', user), 'personal', 'personal');
  });

  it('gives the winner of a stopped experiment', async () => {
    assertValue(await client.getBooleanDetails('settled-flag', false, user), true, 'treatment');
  });

  it('looks at the attributes of the context', async () => {
    assertValue(await client.getBooleanDetails('eu-banner', false, { ...user, country: 'at' }), true, 'treatment');
  });

  it('takes another unit type from the context', async () => {
    const device = { targetingKey: 'device-1', unitType: 'device' };
    assertValue(await client.getBooleanDetails('device-hint', false, device), true, 'treatment');
  });

  // This provider (0.1) predates OFREP 0.3 and reports an answer without value as an error;
  // what counts is that the application goes on with its own default.
  for (const [why, flag, context] of [
    ['an audience that does not match', 'eu-banner', { ...user, country: 'fr' }],
    ['an attribute that is missing', 'eu-banner', user],
    ['a paused experiment', 'paused-flag', user],
    ['an experiment of another unit type', 'device-hint', user],
  ]) {
    it(`uses the code default for ${why}`, async () => {
      assert.equal(await client.getBooleanValue(flag, false, context), false);
      assert.equal(await client.getBooleanValue(flag, true, context), true);
    });
  }

  it('reports FLAG_NOT_FOUND', async () => {
    assertError(await client.getBooleanDetails('no-such-flag', true, user), true, ErrorCode.FLAG_NOT_FOUND);
  });

  it('reports TYPE_MISMATCH', async () => {
    assertError(await client.getBooleanDetails('page-size', true, user), true, ErrorCode.TYPE_MISMATCH);
    assertError(await client.getStringDetails('checkout-button', 'x', user), 'x', ErrorCode.TYPE_MISMATCH);
  });

  it('reports TARGETING_KEY_MISSING', async () => {
    assertError(await client.getBooleanDetails('checkout-button', true, {}), true, ErrorCode.TARGETING_KEY_MISSING);
  });

  it('reports INVALID_CONTEXT for a targeting key that cannot be a unit id', async () => {
    const context = { targetingKey: 'user\u00071' };
    assertError(await client.getBooleanDetails('checkout-button', true, context), true, ErrorCode.INVALID_CONTEXT);
  });

  async function assignments(unit) {
    const token = await (await fetch(`${edge.url}/v1/assignments/${unit}`)).text();
    return JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).a;
  }
});

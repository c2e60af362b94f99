// What an OpenFeature client reports about one evaluation, asserted the same way for both SDKs.
import assert from 'node:assert/strict';

export function assertValue(details, value, variant) {
  assert.equal(details.errorCode, undefined, details.errorMessage);
  assert.deepEqual(details.value, value);
  assert.equal(details.variant, variant);
}

export function assertError(details, value, errorCode) {
  assert.equal(details.value, value);
  assert.equal(details.errorCode, errorCode, details.errorMessage);
  assert.equal(details.reason, 'ERROR');
}

// npm jose knows nothing of Edgeseal: what it accepts is plain JOSE.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { calculateJwkThumbprint, createLocalJWKSet, createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose';

import { startEdge } from './support/edge.js';

const environment = 'production';
const unit = 'user-ä-1';

describe('a token verified by jose', () => {
  let edge, token, keys;
  const expected = {
    algorithms: ['EdDSA', 'Ed25519'],
    typ: 'edgeseal-assignment+jwt',
    issuer: environment,
    audience: `edgeseal:${environment}`,
    subject: subjectTag('user', unit),
    requiredClaims: ['exp', 'iat', 'sub'],
    clockTolerance: 60,
  };

  before(async () => {
    edge = await startEdge();
    token = await textOf(`/v1/assignments/${encodeURIComponent(unit)}`);
    keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', edge.url));
  });
  after(() => edge?.stop());

  const textOf = async (path) => {
    const answer = await fetch(new URL(path, edge.url));
    assert.equal(answer.status, 200, path);
    return answer.text();
  };

  it('is accepted with the keys that the edge publishes', async () => {
    const { payload, protectedHeader } = await jwtVerify(token, keys, expected);
    assert.equal(protectedHeader.typ, expected.typ);
    assert.equal(payload.ut, 'user');
    assert.deepEqual(payload.a['page-size'], { v: 'treatment', xv: 1, r: 'split', p: 25 });
  });

  it('is accepted with a JWK set that was fetched before', async () => {
    const local = createLocalJWKSet(JSON.parse(await textOf('/.well-known/jwks.json')));
    await jwtVerify(token, local, expected);
  });

  it('lives for an hour at most', async () => {
    const { payload } = await jwtVerify(token, keys, expected);
    assert.ok(payload.exp - payload.iat <= 3600, `lives ${payload.exp - payload.iat} s`);
  });

  it('is refused when one character of the claims is another', async () => {
    const [header, claims, signature] = token.split('.');
    const changed = claims.slice(0, 20) + (claims[20] === 'A' ? 'B' : 'A') + claims.slice(21);
    await assert.rejects(jwtVerify([header, changed, signature].join('.'), keys, expected), errors.JWSSignatureVerificationFailed);
  });

  it('is refused when its variant was exchanged', async () => {
    const [header, claims, signature] = token.split('.');
    const forged = JSON.parse(Buffer.from(claims, 'base64url'));
    forged.a['checkout-button'].v = 'another';
    const changed = Buffer.from(JSON.stringify(forged)).toString('base64url');
    await assert.rejects(jwtVerify([header, changed, signature].join('.'), keys, expected), errors.JWSSignatureVerificationFailed);
  });

  it('is refused as the token of another unit', async () => {
    const subject = subjectTag('user', 'user-2');
    await assert.rejects(jwtVerify(token, keys, { ...expected, subject }), claimFailed('sub'));
  });

  it('is refused in another environment', async () => {
    await assert.rejects(jwtVerify(token, keys, { ...expected, issuer: 'staging' }), claimFailed('iss'));
    await assert.rejects(jwtVerify(token, keys, { ...expected, audience: 'edgeseal:staging' }), claimFailed('aud'));
  });

  it('is refused as another kind of token', async () => {
    await assert.rejects(jwtVerify(token, keys, { ...expected, typ: 'edgeseal-status+jwt' }), claimFailed('typ'));
  });

  it('is refused once it has expired', async () => {
    const currentDate = new Date(Date.now() + 2 * 3600 * 1000);
    await assert.rejects(jwtVerify(token, keys, { ...expected, currentDate }), errors.JWTExpired);
  });

  it('is not replaceable by a keyset or a status document: other keys sign those', async () => {
    for (const path of ['/v1/keyset', '/v1/status']) {
      await assert.rejects(jwtVerify(await textOf(path), keys, expected), errors.JWKSNoMatchingKey, path);
    }
  });

  it('names its key by the RFC 7638 thumbprint, cut to 16 bytes', async () => {
    const { kid } = decodeProtectedHeader(token);
    const { keys: published } = JSON.parse(await textOf('/.well-known/jwks.json'));
    const key = published.find((candidate) => candidate.kid === kid);
    const thumbprint = Buffer.from(await calculateJwkThumbprint(key), 'base64url');
    assert.equal(kid, thumbprint.subarray(0, 16).toString('base64url'));
  });

  it('comes with a JWK set that holds public members only', async () => {
    const { keys: published } = JSON.parse(await textOf('/.well-known/jwks.json'));
    assert.ok(published.length > 0);
    for (const key of published) {
      assert.equal(key.d, undefined);
      assert.deepEqual([key.kty, key.crv, key.use, key.key_ops], ['OKP', 'Ed25519', 'sig', ['verify']]);
    }
  });
});

// DESIGN: SHA-256 over length-free parts joined by NUL, the first 16 bytes.
function subjectTag(unitType, unitId) {
  const parts = ['edgeseal/sub/1', environment, unitType, unitId];
  return createHash('sha256').update(parts.join('\0')).digest().subarray(0, 16).toString('base64url');
}

function claimFailed(claim) {
  return (error) => error instanceof errors.JWTClaimValidationFailed && error.claim === claim;
}

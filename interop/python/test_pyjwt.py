"""PyJWT knows nothing of Edgeseal: what it accepts is plain JOSE."""

import base64
import hashlib
import json
import urllib.parse
import urllib.request

import jwt
import pytest

ENVIRONMENT = "production"
UNIT = "user-ä-1"
TYPE = "edgeseal-assignment+jwt"


@pytest.fixture(scope="module")
def token(edge_url):
    return get(edge_url, f"/v1/assignments/{urllib.parse.quote(UNIT)}")


@pytest.fixture(scope="module")
def key(edge_url, token):
    return jwt.PyJWKClient(f"{edge_url}/.well-known/jwks.json").get_signing_key_from_jwt(token)


def test_a_token_is_accepted(token, key):
    claims = decode(token, key)
    assert jwt.get_unverified_header(token)["typ"] == TYPE
    assert claims["ut"] == "user"
    assert claims["a"]["page-size"] == {"v": "treatment", "xv": 1, "r": "split", "p": 25}


def test_a_tampered_token_is_refused(token, key):
    header, claims, signature = token.split(".")
    forged = json.loads(unpadded(claims))
    forged["a"]["checkout-button"]["v"] = "another"
    claims = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    with pytest.raises(jwt.InvalidSignatureError):
        decode(f"{header}.{claims}.{signature}", key)


def test_the_token_of_another_unit_is_refused(token, key):
    with pytest.raises(jwt.exceptions.InvalidSubjectError):
        decode(token, key, subject=subject_tag("user-2"))


def test_the_token_of_another_environment_is_refused(token, key):
    with pytest.raises(jwt.InvalidAudienceError):
        decode(token, key, audience="edgeseal:staging")
    with pytest.raises(jwt.InvalidIssuerError):
        decode(token, key, issuer="staging")


def test_a_secret_made_of_the_public_key_is_refused(token, key):
    with pytest.raises(jwt.InvalidAlgorithmError):
        decode(token, key, algorithms=["HS256"])


def test_the_key_of_a_keyset_or_status_document_is_not_published_as_a_token_key(edge_url):
    client = jwt.PyJWKClient(f"{edge_url}/.well-known/jwks.json")
    for path in ["/v1/keyset", "/v1/status"]:
        with pytest.raises(jwt.PyJWKClientError):
            client.get_signing_key_from_jwt(get(edge_url, path))


def decode(token, key, **changes):
    expected = {
        "algorithms": ["EdDSA"],
        "issuer": ENVIRONMENT,
        "audience": f"edgeseal:{ENVIRONMENT}",
        "subject": subject_tag(UNIT),
        "leeway": 60,
        "options": {"require": ["exp", "iat", "sub", "aud", "iss"]},
    }
    return jwt.decode(token, key, **(expected | changes))


def subject_tag(unit):
    parts = ["edgeseal/sub/1", ENVIRONMENT, "user", unit]
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def get(base, path):
    with urllib.request.urlopen(base + path, timeout=10) as answer:
        return answer.read().decode()

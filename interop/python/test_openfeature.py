"""The OpenFeature SDK with the OFREP provider from PyPI: one request for each evaluation, strictly typed."""

import base64
import json
import urllib.request

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

USER = EvaluationContext("user-1")


@pytest.fixture(scope="module")
def client(edge_url):
    api.set_provider(OFREPProvider(edge_url))
    yield api.get_client()
    api.shutdown()


def test_a_boolean_is_the_one_that_the_signed_token_holds(client, edge_url):
    seen = set()
    for n in range(40):
        details = client.get_boolean_details("checkout-button", False, EvaluationContext(f"user-{n}"))
        signed = assignments(edge_url, f"user-{n}")["checkout-button"]
        assert details.error_code is None
        assert details.reason == Reason.SPLIT
        assert (details.variant, details.value) == (signed["v"], signed["p"])
        seen.add(details.value)
    assert seen == {True, False}


def test_a_string(client):
    assert_value(client.get_string_details("button-label", "none", USER), "Jetzt kaufen – 买")


def test_an_integer(client):
    assert_value(client.get_integer_details("page-size", 1, USER), 25)


@pytest.mark.parametrize(("flag", "value"), [("price-factor", 0.875), ("whole-factor", 2.0)])
def test_a_double(client, flag, value):
    assert_value(client.get_float_details(flag, 1.0, USER), value)


def test_an_object(client):
    layout = {"columns": 3, "theme": {"accent": "#0a7", "dark": True}, "order": ["hero", "list"]}
    assert_value(client.get_object_details("page-layout", {}, USER), layout)


def test_a_variant_without_payload_gives_its_key(client):
    assert_value(client.get_string_details("ranking", "none", USER), "personal", variant="personal")


def test_the_winner_of_a_stopped_experiment(client):
    assert_value(client.get_boolean_details("settled-flag", False, USER), True)


def test_the_attributes_of_the_context_are_looked_at(client):
    assert_value(client.get_boolean_details("eu-banner", False, EvaluationContext("user-1", {"country": "at"})), True)


def test_another_unit_type_comes_from_the_context(client):
    device = EvaluationContext("device-1", {"unitType": "device"})
    assert_value(client.get_boolean_details("device-hint", False, device), True)


@pytest.mark.parametrize(
    ("flag", "attributes"),
    [("eu-banner", {"country": "fr"}), ("eu-banner", {}), ("paused-flag", {}), ("device-hint", {})],
    ids=["audience", "attribute-missing", "paused", "unit-type"],
)
@pytest.mark.parametrize("default", [True, False])
def test_a_unit_outside_the_experiment_gets_the_code_default(client, flag, attributes, default):
    assert client.get_boolean_value(flag, default, EvaluationContext("user-1", attributes)) is default


@pytest.mark.parametrize(
    ("flag", "context", "code"),
    [
        ("no-such-flag", USER, ErrorCode.FLAG_NOT_FOUND),
        ("page-size", USER, ErrorCode.TYPE_MISMATCH),
        ("checkout-button", EvaluationContext(attributes={"country": "de"}), ErrorCode.TARGETING_KEY_MISSING),
        ("checkout-button", EvaluationContext("user\x071"), ErrorCode.INVALID_CONTEXT),
    ],
    ids=lambda value: value.value if isinstance(value, ErrorCode) else None,
)
def test_an_error_gives_the_code_default_and_its_code(client, flag, context, code):
    details = client.get_boolean_details(flag, True, context)
    assert (details.value, details.error_code, details.reason) == (True, code, Reason.ERROR), details.error_message


def assert_value(details, value, variant="treatment"):
    assert details.error_code is None, details.error_message
    assert (details.value, type(details.value), details.variant) == (value, type(value), variant)


def assignments(edge_url, unit):
    with urllib.request.urlopen(f"{edge_url}/v1/assignments/{unit}", timeout=10) as answer:
        claims = answer.read().decode().split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["a"]

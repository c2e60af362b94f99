"""The API is what its OpenAPI document says: schemathesis asks what the document allows and what it forbids, and
reads every answer by it. Nothing is random, so a failure comes again."""

import json
import urllib.request
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# Not a folder in the tree.
set_hypothesis_home_dir(Path(__file__).parents[2] / ".cache/hypothesis")

# For each operation and each kind of request.
EXAMPLES = 15
ANSWER_WITHIN_SECONDS = 10
# Its answer never ends; a test of its own reads how it begins.
STREAM = "streamEdge"

AS_DOCUMENTED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFUSED_AS_DOCUMENTED = [*AS_DOCUMENTED, negative_data_rejection]


@schemathesis.serializer("application/x-ndjson", "text/plain")
def as_one_line(_context, value):
    """What edges deliver is a line of JSON each, and browsers may call their JSON text."""
    return value if isinstance(value, (bytes, str)) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def operations(control):
    """Every operation of the document but the stream, by its id."""
    config = schemathesis.Config(seed=1)
    config.cache.enabled = False
    # Requests without a good token are left to the test of every route with every scope: whoever sends many is locked
    # out for a minute.
    config.projects.default.generation.update(with_security_parameters=False)
    config.projects.default.update(base_url=control.url)
    # Not by its address: schemathesis would leave out the operation that gives the document.
    document = schemathesis.openapi.from_dict(control.get("/api/v1/openapi.json"), config=config)
    operations = {found.ok().definition.raw["operationId"]: found.ok() for found in document.get_all_operations()}
    del operations[STREAM]
    # What takes things away comes last, so that the others find something.
    return dict(sorted(operations.items(), key=lambda item: item[1].method.lower() == "delete" or item[0] == "apply"))


def test_every_operation_of_the_document_is_exercised(operations, control):
    paths = control.get("/api/v1/openapi.json")["paths"]
    written = {operation["operationId"] for path in paths.values() for operation in path.values()}
    assert operations.keys() | {STREAM} == written


def test_what_the_document_allows_is_answered_as_documented(operations, control):
    exercise(operations, control, GenerationMode.POSITIVE, AS_DOCUMENTED)


def test_what_the_document_forbids_is_refused_as_documented(operations, control):
    exercise(operations, control, GenerationMode.NEGATIVE, REFUSED_AS_DOCUMENTED)


def test_the_stream_begins_with_an_event(control):
    request = urllib.request.Request(f"{control.url}/api/v1/edge/stream", headers=control.headers("edge"))
    with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_SECONDS) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.readline().strip()


def exercise(operations, control, mode, checks):
    """Sends examples to every operation and fails with what was wrong with any of them."""
    failures, answers = [], {}
    for name, operation in operations.items():
        if mode.is_negative and not can_be_wrong(operation):
            continue
        answers[name] = set()
        try:
            send_examples(operation, control, mode, checks, answers[name])
        except (FailureGroup, hypothesis.errors.HypothesisException, AssertionError) as failure:
            failures.append(f"{operation.label}\n{failure}")
    answered = "\n".join(f"{name}: {sorted(statuses)}" for name, statuses in answers.items())
    print(f"{len(answers)} operations exercised\n{answered}")
    assert not failures, "\n\n".join([f"{len(failures)} of {len(answers)} operations failed", *failures])
    assert all(answers.values())


def send_examples(operation, control, mode, checks, answers):
    headers = control.headers("edge" if "/edge/" in operation.path else "admin")
    known = control.things(operation.path)

    # Not shrunk: a shorter example would cost more requests than it saves reading.
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(data=st.data())
    def send(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if takes_any_text(operation):
            hypothesis.assume(not case.meta.is_negative_at(ParameterLocation.BODY))
        if not mode.is_negative and data.draw(st.booleans()):
            aim(case, known, control, data)
        answer = case.call_and_validate(headers=headers, checks=checks, timeout=ANSWER_WITHIN_SECONDS)
        answers.add(answer.status_code)

    send()


def aim(case, known, control, data):
    """Turns a request for something made up, which is never there, into one for something that is."""
    case.query.pop("environment", None)
    case.query.pop("cursor", None)
    if known:
        thing = data.draw(st.sampled_from(known))
        case.path_parameters.update(thing.parameters)
        if "If-Match" in case.headers:
            case.headers["If-Match"] = control.etag(thing.path) or case.headers["If-Match"]
        if isinstance(case.body, dict) and "key" in case.body:
            case.body["key"] = case.path_parameters["key"]
    if isinstance(case.body, dict):
        case.body = {name: whole(value) for name, value in case.body.items()}
        if "environment" in case.body:
            case.body["environment"] = "production"


def whole(value):
    """JSON Schema takes 5.0 for an integer, the API only 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def can_be_wrong(operation):
    """Whether anything can be sent to it that the document forbids."""
    raw = operation.definition.raw
    return "parameters" in raw or "requestBody" in raw


def takes_any_text(operation):
    """Whether its body is lines, of which a bad one is quarantined and the others are taken."""
    return "application/x-ndjson" in operation.definition.raw.get("requestBody", {}).get("content", {})

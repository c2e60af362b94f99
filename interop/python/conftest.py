"""A real edge and a real control plane for the tests: the binary on free ports, with data directories that go away."""

import json
import os
import pathlib
import socket
import subprocess
import time
import typing
import urllib.error
import urllib.parse
import urllib.request

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("EDGESEAL_BIN", str(REPOSITORY / "target/debug/edgeseal"))
EXPERIMENTS = REPOSITORY / "interop/experiments.yaml"
READY_WITHIN_SECONDS = 20
POLL_EVERY_SECONDS = 0.025


@pytest.fixture(scope="session")
def edge_url(tmp_path_factory):
    directory = tmp_path_factory.mktemp("edge")
    listen = f"127.0.0.1:{free_port()}"
    command = [BINARY, "serve", "--experiments", EXPERIMENTS, "--data-dir", directory / "data", "--listen", listen]
    log = directory / "log"
    with log.open("wb") as output:
        edge = subprocess.Popen(
            command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until_ready(f"http://{listen}", edge, log)
        yield f"http://{listen}"
    finally:
        edge.terminate()
        edge.wait(timeout=10)


def wait_until_ready(url, edge, log):
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert edge.poll() is None, f"the edge ended with {edge.returncode}:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"the edge is not ready:\n{log.read_text()}"
            time.sleep(POLL_EVERY_SECONDS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def control(tmp_path_factory):
    directory = tmp_path_factory.mktemp("control")
    command = [BINARY, "serve", "--demo", "--data-dir", directory / "data"]
    command += ["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--json"]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output, text=True
        )
    try:
        first_line = process.stdout.readline()
        assert first_line, f"the control plane ended before it said where it listens:\n{log.read_text()}"
        banner = json.loads(first_line)
        wait_until_ready(banner["control"], process, log)
        yield Control(banner["control"], banner["adminToken"])
        assert process.poll() is None, f"the control plane ended with {process.returncode}:\n{log.read_text()}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


class Control:
    """The API of a running control plane, with a token for people and one for edges."""

    def __init__(self, url, admin_token):
        self.url = url.rstrip("/")
        self.tokens = {"admin": admin_token}
        created = self.send("POST", "/api/v1/tokens", {"name": "interop", "scope": "edge"})
        self.tokens["edge"] = created["token"]

    def headers(self, scope):
        return {"authorization": f"Bearer {self.tokens[scope]}"}

    def get(self, path):
        return self.send("GET", path)

    def send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers("admin") | {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def etag(self, path):
        """The entity tag of what is there, if it still is."""
        request = urllib.request.Request(self.url + path, headers=self.headers("admin"))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.headers["etag"]
        except urllib.error.HTTPError:
            return None

    def things(self, template):
        """What there is for a path such as `/api/v1/layers/{key}/diff`."""
        collection, _, rest = template.partition("/{")
        name = rest.partition("}")[0]
        # The tokens in use must survive the test.
        if not name or collection.endswith("/tokens"):
            return []
        more = {"n": 1} if "/{n}" in template else {}
        if collection.endswith("/hmac"):  # versions, which no list has
            values = [1]
        else:
            values = [item[name] for item in self.get(collection)["items"]]
        return [Thing(f"{collection}/{urllib.parse.quote(str(value))}", {name: value} | more) for value in values]


class Thing(typing.NamedTuple):
    path: str
    parameters: dict


def clean_environment():
    """Settings of the developer's own shell must not reach the program under test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EDGESEAL_")}

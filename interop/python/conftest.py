"""A real edge for the tests: the binary on a free port, with its own experiments and a data directory that goes away."""

import os
import pathlib
import socket
import subprocess
import time
import urllib.error
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
    # Settings of the developer's own shell must not reach the edge under test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGESEAL_")}
    command = [BINARY, "serve", "--experiments", EXPERIMENTS, "--data-dir", directory / "data", "--listen", listen]
    log = directory / "log"
    with log.open("wb") as output:
        edge = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
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

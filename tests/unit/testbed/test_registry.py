"""Whether a registry answers, and what is asked of it; nothing is pulled here."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from chaosext.testbed import registry
from chaosext.testbed.kubernetes_releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def trickle(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client, suppress(OSError):
        while True:
            client.sendall(b"H")
            time.sleep(0.05)


@pytest.fixture(params=[200, 401, 404, 500])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A registry's address, and the status that its API answers with."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param if self.path == "/v2/" else 418)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", request.param
    server.shutdown()
    thread.join()
    server.server_close()


def test_registry_answers_with_yes_or_log_in_first(server: tuple[str, int]) -> None:
    address, status = server
    assert registry.registry_answers(address) is (status in (200, 401))


def test_registry_does_not_answer_when_nothing_listens() -> None:
    assert not registry.registry_answers("127.0.0.1:1")


def test_registry_does_not_answer_when_it_trickles() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        began_s = time.monotonic()
        assert not registry._answers(f"http://127.0.0.1:{listener.getsockname()[1]}/v2/", 0.5)
        assert time.monotonic() - began_s < 2


def test_docker_hub_is_where_the_engine_says(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, status = server
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho http://127.0.0.1:1/v1/ http://{address}/\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert registry.hub_addresses() == ("http://127.0.0.1:1/v2/", f"http://{address}/v2/")
    assert registry.registry_answers(None) is (status in (200, 401))


def test_docker_hub_does_not_answer_when_the_engine_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not registry.registry_answers(None)


def test_mirror_is_asked_for_the_same_path_by_tag() -> None:
    assert registry.NODE.source("host:5000") == "host:5000/kindest/node:v1.34.11"
    assert registry.CALICO_NODE.source("host:5000") == "host:5000/calico/node:v3.28.5"


def test_docker_hub_is_asked_by_digest_when_one_is_known() -> None:
    assert registry.NODE.source(None) == f"{registry.NODE.name}@{RELEASES['1.34'].node_digest}"
    assert registry.CALICO_NODE.source(None) == "docker.io/calico/node:v3.28.5"


@pytest.mark.parametrize("minor", RELEASES)
def test_node_image_of_a_minor_version_is_pinned(minor: str) -> None:
    release = RELEASES[minor]
    pinned = f"docker.io/kindest/node:{release.node_tag}@{release.node_digest}"
    assert registry.node_of(minor).source(None) == pinned
    assert registry.node_of(release.node_tag).source(None) == pinned
    assert release.node_tag.startswith(f"v{minor}.")


def test_node_image_of_another_patch_release_is_pulled_by_tag() -> None:
    assert registry.node_of("1.33.2").source(None) == "docker.io/kindest/node:v1.33.2"

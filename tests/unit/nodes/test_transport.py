"""Which nodes docker shows, without asking any cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.nodes.transport import discover

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DOCKER = """#!/bin/sh
printf '%s\\n' 'bed-worker worker' 'bed-external-load-balancer external-load-balancer' 'bed-control-plane control-plane'
"""


def test_the_load_balancer_before_several_api_servers_is_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert discover(cluster="bed") == ("bed-control-plane", "bed-worker")

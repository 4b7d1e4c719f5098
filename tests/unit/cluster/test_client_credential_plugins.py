"""Credential plugins of a kubeconfig: ended in time with all that they started, and named where they fail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hostile_server import OK, HostileServer

from chaosext.cluster.client import Cluster
from chaosext.model.errors import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIAL = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "status": {"token": "from-the-plugin"},
}
OVER = "2020-01-01T00:00:00Z"
AT_MOST_S = 10.0


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[HostileServer]:
    server = HostileServer(certificate)
    body = b'{"metadata":{"uid":"u-1"}}'
    server.answer = lambda it: it.say(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    yield server
    server.close()


def connected(
    server: HostileServer, authority: Path, folder: Path, script: str, user: dict[str, Any] | None = None
) -> Cluster:
    """The cluster of a context whose user is known by a plugin that does as `script` (sh) says."""
    plugin = folder / "plugin"
    plugin.write_text(f"#!/bin/sh\n{script}\n")
    plugin.chmod(0o755)
    by_plugin = {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": str(plugin)}}
    cluster = {"server": server.url, "certificate-authority": str(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "cloud", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or by_plugin}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    return Cluster.connect("cloud", str(folder / "config"), request_timeout_s=1.0)


def printing(**status: str) -> str:
    said = {**CREDENTIAL, "status": {**CREDENTIAL["status"], **status}}  # type: ignore[dict-item]
    return f"echo '{json.dumps(said)}'"


@pytest.fixture
def authority(certificate: tuple[Path, Path]) -> Path:
    return certificate[0]


def gone(pid: Path) -> bool:
    """Whether the process whose number was left in a file is seen to end."""
    deadline_s = time.monotonic() + AT_MOST_S
    while Path(f"/proc/{pid.read_text().strip()}").exists():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def test_a_plugins_token_is_used(server: HostileServer, authority: Path, tmp_path: Path) -> None:
    assert connected(server, authority, tmp_path, printing()).namespace_uid() == "u-1"
    assert b"Bearer from-the-plugin" in server.requests[0]


def test_a_plugin_that_hangs_is_ended_with_all_that_it_started(
    server: HostileServer, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaosext.cluster.client.PLUGIN_S", 0.5)
    started_s = time.monotonic()
    with pytest.raises(Refused, match=r"context 'cloud': its credential plugin .* did not end within"):
        connected(server, authority, tmp_path, f"sleep 600 & echo $! >{tmp_path}/pid; wait")
    assert time.monotonic() - started_s < AT_MOST_S
    assert gone(tmp_path / "pid")
    assert server.requests == []


def test_a_plugin_that_hangs_later_is_bounded_by_the_request(
    server: HostileServer, authority: Path, tmp_path: Path
) -> None:
    once = (
        f"[ -e {tmp_path}/once ] && {{ sleep 600 & echo $! >{tmp_path}/pid; wait; }}; touch {tmp_path}/once"
    )
    found = connected(server, authority, tmp_path, f"{once}; {printing(expirationTimestamp=OVER)}")
    started_s = time.monotonic()
    with pytest.raises(Unreachable, match="within 1 s"):
        found.namespace_uid()
    assert time.monotonic() - started_s < AT_MOST_S
    assert gone(tmp_path / "pid")


def test_a_plugin_that_never_stops_talking_is_ended(
    server: HostileServer, authority: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="larger than 1 MiB"):
        connected(server, authority, tmp_path, "cat /dev/zero")


def test_what_a_plugin_complains_of_is_shown_to_nobody(
    server: HostileServer, authority: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused, match=r"ended with exit code 3: run it by itself") as refused:
        connected(server, authority, tmp_path, "echo s3cr3t >&2; exit 3")
    out, err = capfd.readouterr()
    assert "s3cr3t" not in out + err + str(refused.value)


def test_a_plugin_that_is_not_there_is_named(server: HostileServer, authority: Path, tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": "/nowhere/plugin"}}
    with pytest.raises(Refused, match=r"'/nowhere/plugin' .*No such file"):
        connected(server, authority, tmp_path, "", user)


def test_a_plugin_asks_no_terminal(server: HostileServer, authority: Path, tmp_path: Path) -> None:
    found = connected(server, authority, tmp_path, f"cat >{tmp_path}/stdin; {printing()}")
    assert found.namespace_uid() == "u-1"
    assert (tmp_path / "stdin").read_text() == ""

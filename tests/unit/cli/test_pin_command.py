"""`chaosext pin`: one thing at a time, said to people and to machines."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from chaosext.cli.main import invoke
from chaosext.run.session import connection
from chaosext.safety.pins import read_pins

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What every context leads to."""
    found = SimpleNamespace(server="https://a:6443", ca_sha256="", namespace_uid=lambda _: "uid")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(
        connection.Cluster, "connect", lambda context: SimpleNamespace(context=context, **vars(found))
    )
    return found


def test_pinning_is_said_and_once_more_is_no_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["pin", "--context", "kind-a"]) == 0
    assert capsys.readouterr().out == (
        "pinned:\n"
        "kind-a\n"
        "  server           https://a:6443\n"
        "  CA (SHA-256)     as the system trusts\n"
        "  kube-system UID  uid\n"
    )
    assert invoke(["pin", "--context", "kind-a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False


def test_another_cluster_takes_replace(cluster: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    invoke(["pin", "--context", "kind-a"])
    cluster.server = "https://b:6443"
    assert invoke(["pin", "--context", "kind-a"]) == 20
    assert "fix: check the kubeconfig; if this cluster is right, run `chaosext pin" in capsys.readouterr().err
    assert read_pins()["kind-a"].server == "https://a:6443"
    assert invoke(["pin", "--context", "kind-a", "--replace"]) == 0
    assert read_pins()["kind-a"].server == "https://b:6443"


def test_listing_and_forgetting(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["pin"]) == 0
    assert capsys.readouterr().out.startswith("no context is pinned in ")
    invoke(["pin", "--context", "kind-b"])
    invoke(["pin", "--context", "kind-a"])
    capsys.readouterr()
    assert invoke(["pin", "--list", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["kind-a", "kind-b"]
    assert invoke(["pin", "--list", "-o", "wide"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["CONTEXT", "SERVER"]
    assert [row.split()[0] for row in rows] == ["kind-a", "kind-b"]
    assert invoke(["pin", "--remove", "kind-a"]) == 0
    assert invoke(["pin", "--remove", "kind-a"]) == 0
    assert capsys.readouterr().out == "kind-a: unpinned\nkind-a: was not pinned\n"
    assert list(read_pins()) == ["kind-b"]


@pytest.mark.parametrize(
    "words",
    [
        ["--context", "a", "--remove", "b"],
        ["--list", "--context", "a"],
        ["--replace"],
        ["--replace", "--list"],
    ],
)
def test_one_thing_at_a_time(words: list[str]) -> None:
    assert invoke(["pin", *words]) == 20
    assert read_pins() == {}

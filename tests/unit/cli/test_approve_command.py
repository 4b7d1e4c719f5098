"""`chaosext approve`: one thing at a time, written down in the audit log, said to people, machines and clusters."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.cli.main import invoke
from chaosext.run.session import connection
from chaosext.safety.approvals import own_approvals, read_words
from chaosext.safety.audit_log import audit_log

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT: dict[str, Any] = {
    "title": "a game day",
    "description": "made for a test",
    "configuration": {"ttl": {"type": "env", "key": "E_TTL", "default": 60, "env_var_type": "int"}},
    "secrets": {"k8s": {"KUBERNETES_CONTEXT": "kind-a"}},
    "method": [
        {
            "type": "action",
            "name": "heal",
            "provider": {
                "type": "python",
                "module": "chaosext.actions",
                "func": "heal_control_plane",
                "secrets": ["k8s"],
            },
        }
    ],
}


@pytest.fixture(autouse=True)
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(
        connection.Cluster,
        "connect",
        lambda context, **_: SimpleNamespace(
            context=context,
            server="https://a:6443",
            ca_sha256="",
            namespace_uid=lambda _: f"uid of {context}",
        ),
    )
    invoke(["pin", "--context", "kind-a"])
    path = tmp_path / "game.yaml"
    path.write_text(json.dumps(EXPERIMENT))
    return path


def approved(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert invoke(["approve", *arguments, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_approval_is_audited_kept_and_listed(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (word,) = approved(capsys, str(experiment), "--by", "alice", "--until", "8h", "--note", "CHG-1")
    assert (word["cluster_uid"], word["by"], word["note"], word["values"]) == (
        "uid of kind-a",
        "alice",
        "CHG-1",
        {"ttl": 60},
    )
    last = audit_log().verified().entries[-1].says
    assert (last["event"], last["approval_sha256"]) == ("approved", word["sha256"])
    assert approved(capsys, "--list") == [word]
    assert invoke(["approve", "--list"]) == 0
    assert f"  digest   {word['sha256']}" in capsys.readouterr().out.splitlines()


def test_a_revoked_approval_is_no_more(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (word,) = approved(capsys, str(experiment))
    (revoked,) = approved(capsys, "--revoke", word["sha256"][:8], "--note", "no")
    assert (revoked["said"], revoked["note"]) == ("revoked", "no")
    assert audit_log().verified().entries[-1].says["event"] == "approval_revoked"
    assert approved(capsys, "--list") == []
    assert invoke(["approve", "--revoke", word["sha256"]]) == 20
    assert "no approval in force" in capsys.readouterr().err


def test_the_digest_is_of_the_values_as_they_are_now(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = approved(capsys, str(experiment), "--dry-run")
    monkeypatch.setenv("E_TTL", "600")
    (after,) = approved(capsys, str(experiment), "--dry-run")
    assert (before["values"], after["values"]) == ({"ttl": 60}, {"ttl": 600})
    assert before["sha256"] != after["sha256"]
    assert not own_approvals().exists()


def test_a_runner_elsewhere_reads_what_the_config_map_holds(
    experiment: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    approved(capsys, str(experiment))
    assert invoke(["approve", "--list", "--context", "kind-a", "--config-map", "--namespace", "ns"]) == 0
    made = yaml.safe_load(capsys.readouterr().out)
    assert (made["kind"], made["metadata"]) == (
        "ConfigMap",
        {"name": "chaosext-approvals", "namespace": "ns"},
    )
    mounted = tmp_path / "mounted.jsonl"
    mounted.write_text(made["data"]["approvals.jsonl"])
    assert read_words([mounted]) == read_words([own_approvals()])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing: choose exactly one"),
        (["game.yaml", "--list"], "EXPERIMENT and --list: choose exactly one"),
        (["game.yaml", "--until", "soon"], "--until: 'soon' is not a time"),
        (["game.yaml", "--until", "2026-12-24T06:00"], "has no time zone"),
        (["game.yaml", "--until", "2020-01-01T00:00Z"], "is in the past"),
        (["game.yaml", "--until", "-3h"], "is in the past"),
        (["game.yaml", "--until", "99999999999d"], "is not a time"),
        (["game.yaml", "--context", "kind-b"], "context kind-b is not pinned"),
        (["nothing.yaml"], "experiment nothing.yaml"),
        (["--revoke", "ff"], "no approval in force"),
    ],
)
def test_what_is_no_approval_is_refused(
    experiment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(experiment.parent)
    assert invoke(["approve", *arguments]) == 20
    assert said in capsys.readouterr().err
    assert not own_approvals().exists()

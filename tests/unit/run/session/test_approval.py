"""On a cluster marked production only what was approved may act; elsewhere nobody is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.resolve import resolve
from chaosext.model.errors import Refused
from chaosext.run.session.approval import intended, intended_of, refused_without_approval, require_approved
from chaosext.safety.approvals import Said, Word, write_word
from chaosext.safety.pins import Pin, write_pin

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT: dict[str, Any] = {
    "title": "a game day",
    "configuration": {
        "ttl": {"type": "env", "key": "E_TTL", "default": 60, "env_var_type": "int"},
        "password": {"type": "env", "key": "E_PASSWORD", "default": ""},
    },
    "secrets": {"k8s": {"KUBERNETES_CONTEXT": "prod-eu"}},
    "method": [
        {
            "type": "action",
            "name": "cut",
            "provider": {
                "type": "python",
                "module": "chaosext.actions",
                "func": "sever_control_plane",
                "arguments": {"ttl_s": "${ttl}"},
                "secrets": ["k8s"],
            },
        }
    ],
}


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def cluster(environment: str = "production") -> Any:
    return SimpleNamespace(
        context="prod-eu", environment=lambda: environment, namespace_uid=lambda _: "uid-1"
    )


def what() -> Any:
    return intended(resolve(EXPERIMENT, source="game day.yaml"))


def approve(sha256: str) -> Word:
    word = Word(
        said=Said.APPROVED, sha256=sha256, cluster_uid="uid-1", context="x", by="alice", at=datetime.now(UTC)
    )
    write_word(word)
    return word


def test_elsewhere_nobody_is_asked() -> None:
    assert require_approved(cluster("staging"), None) is None
    assert list(refused_without_approval(cluster(""), what())) == []


def test_what_is_not_approved_is_refused_with_its_digest_and_the_command_that_approves_it() -> None:
    with pytest.raises(Refused, match="marked chaosext/environment=production") as refused:
        require_approved(cluster(), what())
    assert what().sha256 in refused.value.message
    assert (
        refused.value.fix
        == "a person who may approve it runs `chaosext approve 'game day.yaml' --context prod-eu`"
    )
    (line,) = refused_without_approval(cluster(), what())
    assert line.startswith("a run would be refused now: the cluster of context prod-eu is marked")


def test_a_pin_marks_a_cluster_as_well() -> None:
    write_pin(Pin(context="prod-eu", server="s", ca_sha256="", kube_system_uid="uid-1", production=True))
    with pytest.raises(Refused, match="context prod-eu is pinned as production"):
        require_approved(cluster(""), what())


def test_what_is_approved_may_act_until_a_value_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    word = approve(what().sha256)
    assert require_approved(cluster(), what(), CutRequest(ttl_s=60.0)) == word
    monkeypatch.setenv("E_TTL", "600")
    monkeypatch.setenv("E_PASSWORD", "hunter2hunter2")
    with pytest.raises(Refused, match="it is not approved for this cluster") as refused:
        require_approved(cluster(), what())
    assert "`E_TTL=600 chaosext approve 'game day.yaml' --context prod-eu`" in refused.value.fix
    assert "hunter2" not in str(refused.value)


def test_a_cut_that_the_experiment_does_not_make_is_not_approved_with_it() -> None:
    approve(what().sha256)
    with pytest.raises(Refused, match="this cut is not in the experiment"):
        require_approved(cluster(), what(), CutRequest(ttl_s=900.0))


def test_where_nobody_knows_what_is_played_nothing_may_act() -> None:
    with pytest.raises(Refused, match="this experiment is unknown") as refused:
        require_approved(cluster(), None, CutRequest(ttl_s=60.0))
    assert "chaosext.controls" in refused.value.fix


def test_a_cut_whose_values_are_secret_is_known_all_the_same() -> None:
    secrets = {"k8s": {"KUBERNETES_CONTEXT": "prod-eu", "ttl": "45"}}
    assert intended_of(EXPERIMENT, {}, secrets).cuts == (CutRequest(ttl_s=45.0),)

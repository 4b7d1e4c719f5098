"""Each thing that a run does is in the audit log, and nothing is cut or pinned that could not be written down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from test_inject_and_heal import stage  # noqa: F401  a fixture

from chaosext.model.errors import Refused
from chaosext.run.fault import heal
from chaosext.run.fault.state import fault_of
from chaosext.run.rollback import kube_dns
from chaosext.run.session import connection
from chaosext.safety import pins
from chaosext.safety.audit_log import audit_log

if TYPE_CHECKING:
    from pathlib import Path

    from test_inject_and_heal import Stage


def told() -> list[tuple[str, Any]]:
    """Event and what was touched, oldest first."""
    chain = audit_log().verified()
    assert chain.fault is None
    touched = ("tables", "pods", "context")
    return [
        (entry.says["event"], next((entry.says[key] for key in touched if key in entry.says), None))
        for entry in chain.entries
    ]


def test_a_cut_and_its_heal_are_written_down_once_each(stage: Stage) -> None:  # noqa: F811
    stage.sever()
    heal.heal_run(stage.run)
    heal.left_behind(stage.run)
    table = [f"inet chaosext_{stage.run.id}"]
    assert told() == [("arming", table), ("armed", table), ("healed", table)]
    first = audit_log().verified().entries[0].says
    assert (first["context"], first["cluster_uid"], first["nodes"]) == ("kind-nowhere", "0a1b2c3d", ["cp"])


def test_a_cut_that_can_not_be_written_down_is_refused(stage: Stage) -> None:  # noqa: F811
    audit_log().path.mkdir(parents=True)
    with pytest.raises(Refused, match="audit log"):
        stage.sever()
    assert stage.done == []
    assert stage.outstanding() == []


def test_a_heal_that_can_not_be_written_down_is_a_heal_and_a_problem(stage: Stage) -> None:  # noqa: F811
    stage.sever()
    audit_log().path.unlink()
    audit_log().path.mkdir()
    heal.heal_run(stage.run)
    assert stage.done[-1] == "heal"
    assert stage.outstanding() == []
    assert len(stage.run.trail.problems) == 1


def test_pods_are_named_before_and_after_they_are_deleted(
    stage: Stage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[Any]] = []

    def delete_pod(_pod: Any) -> bool:
        seen.append(told() if audit_log().path.is_file() else [])
        return True

    cluster = SimpleNamespace(delete_pod=delete_pod)
    monkeypatch.setattr(kube_dns, "require_reschedulable", lambda _settings: cluster)
    monkeypatch.setattr(kube_dns, "look_at_lease", lambda _cluster: None)
    settings, victims = SimpleNamespace(context="kind-nowhere"), [SimpleNamespace(name="coredns-1")]
    kube_dns._delete(settings, stage.run, victims)  # type: ignore[arg-type]
    assert seen == [[("deleting_pods", ["kube-system/coredns-1"])]]
    assert told()[-1] == ("pods_deleted", ["kube-system/coredns-1"])
    audit_log().path.unlink()
    audit_log().path.mkdir()
    with pytest.raises(Refused, match="audit log"):
        kube_dns._delete(settings, stage.run, victims)  # type: ignore[arg-type]
    fault_of(stage.run).cuts.append(stage.cut())
    kube_dns._delete(settings, stage.run, victims)  # type: ignore[arg-type]
    assert len(seen) == 2
    assert len(stage.run.trail.problems) == 2


def test_a_pin_is_written_down_or_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    seen = pins.Pin(context="kind-x", server="https://a", ca_sha256="00", kube_system_uid="u")
    monkeypatch.setattr(connection.Cluster, "connect", lambda *_, **__: None)
    monkeypatch.setattr(connection, "observed_pin", lambda _cluster: seen)
    connection.pin_context("kind-x")
    connection.pin_context("kind-x")
    assert told() == [("pinned", "kind-x")]
    pins.remove_pin("kind-x")
    audit_log().path.unlink()
    audit_log().path.mkdir()
    with pytest.raises(Refused, match="audit log"):
        connection.pin_context("kind-x")
    assert pins.read_pins() == {}

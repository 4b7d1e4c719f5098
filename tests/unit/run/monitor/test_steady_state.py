"""Asking whether the cut is effective: by whose measurement of the paths before it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext import probes
from chaosext.checks.cut_effective import CutEvidence, Path
from chaosext.checks.tcp_reachability import Connect, Reach, Target
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Finding, Status
from chaosext.run.fault import paths_before
from chaosext.run.fault.state import fault_of
from chaosext.run.monitor import steady_state
from chaosext.run.session import run_context as contexts

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

SECRETS = {"KUBERNETES_CONTEXT": "kind-nowhere"}
UID = "0a1b2c3d"


def measured(reach: Reach) -> CutEvidence:
    path = Path(source="w", towards="cp", target=Target("172.18.0.2", 6443))
    return CutEvidence(paths=(path,), connects={path: Connect(node="w", target=path.target, reach=reach)})


@dataclass
class Around:
    cut_before: CutEvidence | None = None
    tcp_targets: tuple[Target, ...] = ()


@pytest.fixture
def asked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[CutEvidence | None]]:
    """The measurements that the check was asked by; a run of this process measured open paths."""
    given: list[CutEvidence | None] = []

    def run_checks(_names: Any, around: Around) -> tuple[Finding, ...]:
        given.append(around.cut_before)
        return (Finding(check="cut_effective", status=Status.HEALTHY, summary=""),)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    fault_of(contexts.start(root=tmp_path / "run")).before = measured(Reach.OPEN)
    cluster = SimpleNamespace(namespace_uid=lambda _name: UID)
    monkeypatch.setattr(steady_state, "connect", lambda _settings: cluster)
    monkeypatch.setattr(steady_state, "surroundings", lambda _settings: Around())
    monkeypatch.setattr(steady_state, "run_checks", run_checks)
    yield given
    contexts.current().recorder.close()


def test_a_run_judges_its_cut_by_what_it_measured_itself(asked: list[CutEvidence | None]) -> None:
    paths_before.save(UID, measured(Reach.TIMED_OUT))
    assert probes.cut_effective(secrets=SECRETS)["status"] == "healthy"
    assert asked == [measured(Reach.OPEN)]


def test_another_process_judges_it_by_what_was_kept_for_this_very_cluster(
    asked: list[CutEvidence | None],
) -> None:
    fault_of(contexts.current()).before = None
    paths_before.save(UID, measured(Reach.OPEN))
    paths_before.save("a cluster that had this context before", measured(Reach.TIMED_OUT))
    probes.cut_effective(secrets=SECRETS)
    assert asked == [measured(Reach.OPEN)]


def test_a_cluster_that_does_not_answer_makes_it_unknown(
    asked: list[CutEvidence | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_name: str) -> str:
        raise Unreachable("no answer")

    fault_of(contexts.current()).before = None
    monkeypatch.setattr(steady_state, "connect", lambda _settings: SimpleNamespace(namespace_uid=silent))
    assert probes.cut_effective(secrets=SECRETS)["status"] == "unknown"

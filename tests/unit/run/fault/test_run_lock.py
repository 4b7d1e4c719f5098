"""A run's lock: only for what cuts, only on nodes that are free, and its loss in the timeline."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.experiment.settings import Settings
from chaosext.model.errors import Refused
from chaosext.model.owner import Claim, LockFacts
from chaosext.model.timeline import Kind
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.reports import NodeTables
from chaosext.run.fault import run_lock
from chaosext.run.fault.state import fault_of
from chaosext.run.session import run_context as contexts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS = Settings(context="kind-nowhere")
NODE = NodeCut(node="cp", uplinks=("eth0",))
CUT = Cut(run="r1", owner="a@b", nodes=(NODE,), peers=peers_of(["172.18.0.3"]), ttl_s=60)
LIVE = LockFacts(run="other", owner="bob@two", holder=None, remaining_s=43, is_live=True)
EXPIRED = LockFacts(run="old", owner="", holder=None, remaining_s=0, is_live=False)


class Stage:
    """The run, what its lock was made of, and what became of it."""

    def __init__(self, run: contexts.RunContext) -> None:
        self.run = run
        self.done: list[str] = []
        self.free = True
        self.lease: LockFacts | None = None
        self.tell: Any = None

    def lock(
        self, claim: Claim, _cluster: Any, shells: Mapping[str, Any], *, tell: Any, sealed_s: float
    ) -> Any:
        self.done.append(f"{claim.run == self.run.id} {claim.owner == self.run.owner} {', '.join(shells)}")
        self.tell = tell
        return SimpleNamespace(
            hold=lambda: self.done.append("hold"), release=lambda: self.done.append("release")
        )

    def require_free(self, *_: Any) -> None:
        if not self.free:
            raise Refused("cp: run other of bob@two is in force, 43 s left")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(contexts, "_current", None)
    made = Stage(contexts.start(root=tmp_path / "run"))
    monkeypatch.setattr(run_lock, "ClusterLock", made.lock)
    monkeypatch.setattr(run_lock, "require_free", made.require_free)
    monkeypatch.setattr(run_lock, "connect_to_act", lambda _settings: SimpleNamespace(context="kind-nowhere"))
    monkeypatch.setattr(run_lock, "look_at_lease", lambda _cluster: made.lease)
    return made


def test_it_is_made_once_and_made_sure_of_each_time(stage: Stage) -> None:
    run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    assert stage.done == ["True True cp", "hold", "hold"]


def test_who_cuts_nothing_needs_none(stage: Stage) -> None:
    run_lock.lock_cluster(SETTINGS, stage.run, [])
    run_lock.unlock_cluster(stage.run)
    assert stage.done == []


def test_another_runs_lease_is_refused_before_any_node_is_asked(stage: Stage) -> None:
    stage.free, stage.lease = False, LIVE
    with pytest.raises(Refused, match="run other of bob@two holds Lease kube-system/chaosext"):
        run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    stage.free, stage.lease = True, EXPIRED
    run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    assert stage.done == ["True True cp", "hold"]


def test_a_live_cut_of_another_run_is_refused_before_anything_is_locked(stage: Stage) -> None:
    stage.free = False
    with pytest.raises(Refused, match="run other of bob@two is in force"):
        run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    assert (stage.done, fault_of(stage.run).lock) == ([], None)


def test_it_is_given_back(stage: Stage) -> None:
    run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    run_lock.unlock_cluster(stage.run)
    assert stage.done[-1] == "release"


def test_its_loss_is_in_the_timeline(stage: Stage) -> None:
    run_lock.lock_cluster(SETTINGS, stage.run, [CUT])
    stage.tell("cp: run other of bob@two took it over")
    stage.run.recorder.close()
    (event,) = stage.run.recorder.events
    assert (event.kind, event.object) == (Kind.LOCK_LOST, "Cluster/kind-nowhere")
    assert event.detail == "cp: run other of bob@two took it over"


@pytest.mark.parametrize(
    ("lease", "node", "where"),
    [
        (LIVE, None, "Lease kube-system/chaosext"),
        (None, LIVE, "node cp"),
        (EXPIRED, EXPIRED, ""),
        (None, None, ""),
    ],
)
def test_who_holds_it_is_said_without_taking_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lease: LockFacts, node: LockFacts, where: str
) -> None:
    monkeypatch.setattr(run_lock, "connect", lambda _settings: None)
    monkeypatch.setattr(run_lock, "look_at_lease", lambda _cluster: lease)
    monkeypatch.setattr(run_lock, "inspect", lambda _shells: (NodeTables(node="cp", lock=node),))
    said = run_lock.who_holds(SETTINGS, [CUT])
    lives = "(renewed while the run lives, else it expires in 43 s)"
    wanted = f"a run would be refused now: lock: run other of bob@two holds {where} {lives}"
    assert [line == wanted for line in said] == ([True] if where else [])
    assert stage.done == []

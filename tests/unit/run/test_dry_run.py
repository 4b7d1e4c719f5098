"""A dry run is refused for what the run would be refused for: also for a cut in force, or a node without an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.settings import Settings
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.result import Briefing
from chaosext.partition import apply
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import PeerFacts, TableFacts
from chaosext.partition.reports import NodeTables
from chaosext.run import dry_run, runner
from chaosext.run.preflight import OwnRehearsal

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLVED: Any = SimpleNamespace(
    settings=Settings(context="c"),
    experiment={"method": []},
    wishes=lambda: iter([("method[0]", CutRequest(ttl_s=60))]),
    pending=("configuration.x",),
)
CUT = Cut(
    run="dry1",
    owner="a@b",
    nodes=(NodeCut(node="cp", uplinks=("eth0",)),),
    peers=peers_of(["172.18.0.3"]),
    ttl_s=60,
)


def table(run: str, *, remaining_s: int) -> TableFacts:
    peers = tuple(
        PeerFacts(network=peer, timeout_s=60, remaining_s=remaining_s) for peer in CUT.peers if remaining_s
    )
    return TableFacts(run=run, owner="a@b", until=None, peers=peers, drops=())


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what is found on the control-plane node."""
    briefing = Briefing(context="c", timings={}, outlook=(), unpeered_nodes=(), kube_dns_nodes=())
    monkeypatch.setattr(dry_run, "plan", lambda *_, **__: SimpleNamespace(cut=CUT))
    monkeypatch.setattr(dry_run, "connect", lambda _settings: None)
    monkeypatch.setattr(dry_run, "brief", lambda *_: briefing)
    monkeypatch.setattr(
        dry_run, "rehearse_apart", lambda _resolved: OwnRehearsal(lines=("rehearsal: passed",))
    )
    monkeypatch.setattr(dry_run, "intended", lambda resolved: resolved)
    monkeypatch.setattr(dry_run, "refused_without_approval", lambda _cluster, _what: iter(["not approved"]))
    monkeypatch.setattr(dry_run, "who_holds", lambda _settings, cuts: ("held",) if cuts == [CUT] else ())

    def on_node(**facts: Any) -> None:
        monkeypatch.setattr(apply, "inspect", lambda *_, **__: (NodeTables(node="cp", **facts),))

    return on_node


def test_nodes_that_are_free_are_planned(found: Callable[..., None]) -> None:
    found(tables=(table("old", remaining_s=0),))
    assert list(dry_run.dry_run(RESOLVED).rules) == ["cp"]


def test_a_lock_that_is_held_and_a_missing_approval_are_said(found: Callable[..., None]) -> None:
    found()
    looked_up = "configuration.x: looked up at run time, once the experiment may run"
    expected = ("rehearsal: passed", "held", "not approved", looked_up)
    assert dry_run.dry_run(RESOLVED).briefing.outlook == expected


def test_a_cut_in_force_is_refused(found: Callable[..., None]) -> None:
    found(tables=(table("other", remaining_s=30),))
    with pytest.raises(Refused, match="cp: run other of a@b is in force, 30 s left"):
        dry_run.dry_run(RESOLVED)


def test_a_node_that_can_not_be_asked_is_refused(found: Callable[..., None]) -> None:
    found(problem="no such container")
    with pytest.raises(Refused, match="cp: no such container"):
        dry_run.dry_run(RESOLVED)


@pytest.mark.parametrize("step", ["plan", "brief"])
def test_whatever_does_not_answer_is_refused(
    found: Callable[..., None], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise Unreachable("no answer in 10 s")

    found()
    monkeypatch.setattr(dry_run, step, silent)
    with pytest.raises(Refused, match="no answer in 10 s"):
        dry_run.dry_run(RESOLVED)


def test_a_rollback_that_would_be_refused_is_refused_with_its_place(
    found: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpinned(_settings: Settings) -> None:
        raise Refused("context c is not pinned", "chaosext pin --context c")

    monkeypatch.setattr(runner, "require_reschedulable", unpinned)
    found()
    provider = {"module": "chaosext.actions", "func": "reschedule_kube_dns"}
    experiment = {"method": [], "rollbacks": [{"type": "action", "provider": provider}]}
    only_that = SimpleNamespace(
        settings=RESOLVED.settings, experiment=experiment, wishes=lambda: iter(()), pending=()
    )
    with pytest.raises(Refused, match=r"^rollbacks\[0\]: context c is not pinned"):
        dry_run.dry_run(only_that)

"""Draining a cluster from the entry and taking it back: what is refused, what is written down, what is left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from chaosext.cli.failover import failover as by_hand
from chaosext.experiment.settings import Settings
from chaosext.model.errors import Inconclusive, Refused, Unreachable
from chaosext.model.load_balancer_state import Failover, Member, Request
from chaosext.model.timeline import Kind
from chaosext.nodes.load_balancer import changed
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.run.fault.state import fault_of
from chaosext.run.rollback import cluster_drain, drain_checks
from chaosext.run.rollback.cluster_drain import HELD
from chaosext.run.session import connection
from chaosext.run.session import run_context as contexts
from chaosext.safety.audit_log import audit_log
from chaosext.safety.intent import changed as left_changed
from chaosext.safety.intent import intent_log, write_as_found
from chaosext.safety.pins import Pin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = Settings(context="kind-way", entry="auto")
OK = Request(ago_s=1, took_s=0.01, status=200, served_by="way")
LOST = Request(ago_s=1, took_s=2, status=0, error="timed out")


CUT = Cut(
    run="r",
    owner="o",
    nodes=(NodeCut(node="cp", uplinks=("eth0",)),),
    peers=peers_of(["10.0.0.1"]),
    ttl_s=60,
)


class FakeEntry:
    """Two clusters behind an entry; `checks` is what its own check will say of `way`, look by look."""

    name = "way-entry"

    def __init__(self) -> None:
        self.members = {
            each: Member(cluster=each, addresses=("a:1",), healthy=1) for each in ("way", "way-b")
        }
        self.answers: list[Request] = [OK, LOST]
        self.silent = False

    def look(self) -> tuple[Member, ...]:
        if self.silent:
            raise Unreachable("way-entry: no answer")
        return tuple(self.members.values())

    def change(self, cluster: str, *, drained: bool | None = None, failover: Failover | None = None) -> None:
        self.members = {
            name: changed(each, cluster, drained, failover) for name, each in self.members.items()
        }

    def requests(self, window_s: float) -> tuple[Request, ...]:
        return tuple(self.answers)

    def be(self, cluster: str, **how: object) -> None:
        fields = {name: getattr(self.members[cluster], name) for name in Member.__slots__}
        self.members[cluster] = Member(**{**fields, **how})


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> FakeEntry:
    fake = FakeEntry()
    pin = Pin(context="kind-way", server="", ca_sha256="", kube_system_uid="")
    monkeypatch.setattr(connection, "read_pins", lambda: {"kind-way": pin})
    monkeypatch.setattr(connection, "entry_of", lambda _settings: fake)
    monkeypatch.setattr(cluster_drain, "SERVE_S", 0.0)
    return fake


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[contexts.RunContext]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    made = contexts.start(root=tmp_path / "run")
    made.recorder.say(Kind.CUT, "Node/cp", "now")
    yield made
    made.recorder.close()


def drain(run: contexts.RunContext, cluster: str | None = None, **how: object) -> dict[str, object]:
    return cluster_drain.drain(SETTINGS, run, cluster, **{"patience_s": 0.0, "only_if_needed": True, **how})


def restore(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch, status: str = "healthy", **how: object
) -> dict[str, object]:
    asked = {"status": status, "summary": "DNS", "settled_after_s": 1.0, "dwelt_s": 2.0}
    monkeypatch.setattr(cluster_drain, "ask_steady_state", lambda *_, **__: asked)
    return cluster_drain.restore(SETTINGS, run, None, settle_s=0, dwell_s=0, **how)


def audited() -> list[tuple[object, ...]]:
    says = (each.says for each in audit_log().verified().entries)
    return [(each["event"], each["at_entry"], each.get("run")) for each in says]


def left() -> list[str]:
    return [each.cluster for each in left_changed(intent_log().entries())]


def test_the_contexts_cluster_is_drained_and_that_is_on_disk(
    entry: FakeEntry, run: contexts.RunContext
) -> None:
    assert drain(run)["cluster"] == "way"
    assert entry.members["way"].drained
    assert left() == ["way"]


def test_who_drained_a_cluster_and_took_it_back_is_in_the_audit_log(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain(run)
    restore(run, monkeypatch)
    assert audited() == [("draining", "way-entry/way", run.id), ("taken_back", "way-entry/way", run.id)]


def test_a_drain_by_hand_is_in_the_audit_log(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "entry_in", lambda _name: entry)
    for words in (["drain", "way"], ["restore", "way", "--unasked"]):
        assert CliRunner().invoke(by_hand, words, catch_exceptions=False).exit_code == 0
    assert audited() == [("draining", "way-entry/way", None), ("taken_back", "way-entry/way", None)]


def test_customers_in_an_outage_are_helped_whatever_the_audit_log_says(
    entry: FakeEntry, run: contexts.RunContext
) -> None:
    audit_log().path.mkdir(parents=True)
    with pytest.raises(Refused, match="audit log"):
        drain(run)
    assert not entry.members["way"].drained
    fault_of(run).cuts.append(CUT)
    drain(run)
    assert entry.members["way"].drained
    assert len(run.trail.problems) == 1


def test_what_can_not_be_written_down_is_not_drained(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    with pytest.raises(Inconclusive):
        drain(run)
    assert not entry.members["way"].drained


def test_the_last_cluster_that_serves_is_not_drained(entry: FakeEntry, run: contexts.RunContext) -> None:
    entry.be("way-b", healthy=0)

    with pytest.raises(Refused, match="no cluster but way serves"):
        drain(run)
    assert not entry.members["way"].drained


def test_an_unpinned_context_and_an_unknown_cluster_are_refused(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="known: way, way-b"):
        drain(run, "elsewhere")
    monkeypatch.setattr(connection, "read_pins", dict)
    with pytest.raises(Refused, match="not pinned"):
        drain(run)


def test_customers_who_are_served_well_need_no_drain(entry: FakeEntry, run: contexts.RunContext) -> None:
    entry.answers = [OK]

    assert "skipped" in drain(run)
    assert not entry.members["way"].drained
    assert drain(run, only_if_needed=False)["by"] == "by_hand"


def test_a_cluster_that_its_check_took_out_is_kept_out(entry: FakeEntry, run: contexts.RunContext) -> None:
    entry.be("way", healthy=0)
    entry.answers = [OK]

    assert drain(run)["by"] == "health_check"
    assert entry.members["way"].drained


def test_a_second_drain_does_nothing(entry: FakeEntry, run: contexts.RunContext) -> None:
    drain(run)
    since_s = run.stash[HELD].out_s if run.stash[HELD] else None

    assert "already" in str(drain(run)["skipped"])
    assert run.stash[HELD]
    assert run.stash[HELD].out_s == since_s


def test_nothing_is_drained_after_a_gate_that_was_not_met(entry: FakeEntry, run: contexts.RunContext) -> None:
    run.gate_failed = True

    assert "skipped" in drain(run)
    assert not entry.members["way"].drained


def test_a_cluster_that_is_not_steady_stays_drained(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain(run)

    with pytest.raises(Inconclusive, match="stays drained"):
        restore(run, monkeypatch, "unknown")
    assert entry.members["way"].drained
    assert "chaosext failover restore way --load-balancer way-entry" in cluster_drain.left_at_entry(run)[0]


def test_a_steady_cluster_is_taken_back_as_it_was_found_and_nothing_is_left(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(entry.members)
    cluster_drain.set_failover(SETTINGS, run, Failover.BY_HAND)
    drain(run)
    assert entry.members["way"].failover is Failover.BY_HAND

    restore(run, monkeypatch)

    assert entry.members == before
    assert left() == []
    assert cluster_drain.left_at_entry(run) == ()


def test_who_takes_clusters_out_is_put_back_at_the_end_in_any_case(
    entry: FakeEntry, run: contexts.RunContext
) -> None:
    cluster_drain.set_failover(SETTINGS, run, Failover.BY_HAND)

    assert cluster_drain.left_at_entry(run) == ()
    assert entry.members["way"].failover is Failover.HEALTH_CHECK
    assert left() == []


def test_a_cluster_that_somebody_else_had_drained_is_left_so(
    entry: FakeEntry, run: contexts.RunContext
) -> None:
    entry.be("way", drained=True)

    assert "already" in str(drain(run)["skipped"])
    assert cluster_drain.left_at_entry(run) == ()


def test_an_entry_that_does_not_answer_at_the_end_is_no_clean_end(
    entry: FakeEntry, run: contexts.RunContext
) -> None:
    drain(run)
    entry.silent = True

    assert "can't be asked" in cluster_drain.left_at_entry(run)[0]
    assert left() == ["way"]


def test_a_cluster_that_its_check_keeps_out_is_not_taken_back(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry.be("way", healthy=0)
    drain(run)

    with pytest.raises(Inconclusive, match="does not send customers to way"):
        restore(run, monkeypatch)


def test_since_a_drain_only_what_ended_after_it_counts(
    entry: FakeEntry, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_checks, "require_entry", lambda _settings: entry)
    assert drain_checks.ask_ratio(SETTINGS, run, after_drain_s=0).status == "unknown"
    drain(run)
    entry.answers = [OK]

    assert drain_checks.ask_ratio(SETTINGS, run, after_drain_s=0).status == "healthy"
    assert drain_checks.ask_ratio(SETTINGS, run, after_drain_s=60).status == "unknown"


def test_what_a_dead_run_has_left_drained_is_named_until_somebody_takes_it_back(
    entry: FakeEntry, run: contexts.RunContext
) -> None:
    cluster_drain.set_failover(SETTINGS, run, Failover.BY_HAND)
    drain(run)

    (found,) = left_changed(intent_log().entries())
    assert (found.run, found.cluster, found.failover) == (run.id, "way", Failover.HEALTH_CHECK)
    write_as_found(found)
    assert left() == []


def test_a_run_that_is_left_does_not_wait_for_an_entry(entry: FakeEntry, run: contexts.RunContext) -> None:
    drain(run)
    answered = threading.Event()
    entry.look = lambda: answered.wait(30) and ()  # type: ignore[method-assign, assignment, return-value]

    assert "did not answer in time" in cluster_drain.left_at_entry(run, 0.01)[0]
    answered.set()

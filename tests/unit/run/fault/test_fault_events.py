"""What the timeline says of our own doing must not be calmer than what was seen of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from chaosext.model.clock import Moment, now
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.reports import HealedNode, HealReport
from chaosext.run.fault.fault_events import note_heal, shown
from chaosext.run.fault.state import fault_of
from chaosext.run.session.run_context import Stash

if TYPE_CHECKING:
    from chaosext.run.session.run_context import RunContext
    from chaosext.timeline.object_events import Note


class Told:
    """As much of a run as noting needs."""

    def __init__(self, let_go: Moment) -> None:
        self.stash = Stash()
        fault_of(self).expires_at = let_go  # type: ignore[arg-type]
        self.recorder = self
        self.notes: list[Note] = []
        self.zero_s: float | None = None

    def note(self, note: Note, source: str, **when: Any) -> None:
        self.notes.append(note)


@pytest.mark.parametrize(("left_s", "healed"), [(60.0, "Node/cp-1"), (-1.0, "Node/cp-1,cp-2")])
def test_a_node_that_was_not_seen_open_is_not_said_to_be_healed_before_its_ttl(
    left_s: float, healed: str
) -> None:
    report = HealReport(
        run="20261123t230300ab12",
        nodes=(
            HealedNode(node="cp-1", gone=True),
            HealedNode(node="cp-2", gone=False, problem="no answer within 10 s"),
        ),
        elapsed_s=10.0,
    )
    run = Told(let_go=now().later(left_s))
    note_heal(cast("RunContext", run), report)
    assert [note.object for note in run.notes] == [healed]


@pytest.mark.parametrize(("left_s", "began_s"), [(60.0, -10.0), (-1.0, -1.0 - 4.0)])
def test_a_cut_is_whole_until_its_first_node_may_be_healed(left_s: float, began_s: float) -> None:
    """By us, from the moment when healing began; by the kernels, in the order in which they were armed."""
    report = HealReport(run="r1", nodes=(HealedNode(node="cp-1", gone=True),), elapsed_s=10.0)
    run = Told(let_go=now().later(left_s))
    run.zero_s, fault_of(run).all_cut_s = 100.0, 104.0
    note_heal(cast("RunContext", run), report)
    assert fault_of(run).healing_s is not None
    assert fault_of(run).healing_s == pytest.approx(time.monotonic() + began_s, abs=0.5)
    note_heal(cast("RunContext", run), report)
    assert fault_of(run).healing_s == pytest.approx(time.monotonic() + began_s, abs=0.5), (
        "the first heal counts"
    )


NODE = NodeCut(node="cp-1", uplinks=("eth0",))


def told_of(peers: list[str], spared: list[str]) -> str:
    cut = Cut(
        run="r1",
        owner="a@b",
        nodes=(NODE,),
        peers=peers_of((), peers),
        spared=peers_of((), spared),
        ttl_s=60.0,
    )
    return shown(cut)


def test_what_is_dropped_is_told_address_by_address_where_they_are_few() -> None:
    assert told_of(["10.0.0.0/30"], ["10.0.0.1"]) == "10.0.0.0/32, 10.0.0.2/31"


def test_what_is_dropped_is_told_as_it_was_asked_for_where_they_are_many() -> None:
    spared = ["10.0.0.1", "10.0.77.0/26", "192.0.2.1", "fd00::1"]
    assert told_of(["10.0.0.0/16"], spared) == "10.0.0.0/16 without 10.0.0.1/32, 10.0.77.0/26"
    many = [f"10.{number}.0.0/24" for number in range(20)]
    assert told_of(many, []) == f"{', '.join(many[:12])} and 8 more"

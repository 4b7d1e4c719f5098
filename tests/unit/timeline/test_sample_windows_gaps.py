"""Which holes of a record matter: those in which an outage could come and go unseen."""

from __future__ import annotations

import pytest

from chaosext.model.signal import Mark, Sample, Signal, StreamHead, Watched
from chaosext.model.timeline import Kind
from chaosext.timeline.node_events import NodeWatch
from chaosext.timeline.sample_windows import IN_A_ROW, hiding

DNS = Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns")


@pytest.mark.parametrize("missing", [1, IN_A_ROW - 1])
def test_a_gap_of_fewer_samples_than_an_outage_needs_hides_none(missing: int) -> None:
    assert hiding([(10.0, 10.0 + missing)]) == ()


@pytest.mark.parametrize("early_s", [0.0, 0.04])
def test_one_of_as_many_samples_hides_an_outage_whole(early_s: float) -> None:
    """A round begins when it begins: a gap of three samples may be measured as a little less than three seconds."""
    gap = (10.0, 10.0 + IN_A_ROW - early_s)
    assert hiding([gap]) == (gap,)


def test_one_that_has_no_end_hides_whatever_comes() -> None:
    assert hiding([(10.0, None)]) == ((10.0, None),)


def test_gaps_between_which_nothing_could_be_told_are_one() -> None:
    """Every third sample is missing: an outage of any length is never seen for three samples in a row."""
    holes = [(float(n), n + 1.0) for n in range(2, 60, 3)]
    assert hiding(holes) == ((2.0, 60.0),)
    assert told(dead_but_at={n for n in range(60) if n % 3 == 2}) == set()
    assert Kind.DNS_DEAD in told(dead_but_at={30})


def test_gaps_with_enough_seen_between_them_are_two() -> None:
    assert hiding([(10.0, 12.0), (12.0 + IN_A_ROW, 17.0)]) == ()


def told(*, dead_but_at: set[int]) -> set[Kind]:
    """What is lost on a node whose DNS is dead for a minute, though not these samples of it are there."""
    head = StreamHead(run="r", node="w", boot="b", mono_s=0.0, wall_s=0.0, signals=(DNS,))
    watch = NodeWatch("w")
    notes = list(watch.take(head))
    for n in range(60):
        if n not in dead_but_at:
            notes += watch.take(Sample(n, float(n), Mark.TIMED_OUT.value))
    return {note.kind for _, _, note in notes} & {Kind.DNS_DEAD}

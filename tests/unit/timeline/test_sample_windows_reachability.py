"""Whether a node reached an API server inside the cut: only its samples of then, and only those targets, count."""

from __future__ import annotations

import pytest

from chaosext.model.signal import Sample, Signal, StreamHead, Watched
from chaosext.timeline.sample_windows import API_SERVER, samples_reached

SIGNALS = (
    Signal(kind=Watched.TCP, target="172.18.0.2:6443", label=API_SERVER),
    Signal(kind=Watched.TCP, target="10.2.0.9:15012", label="istiod"),
    Signal(kind=Watched.TCP, target="172.18.0.5:6443", label=API_SERVER),
)
HEAD = StreamHead(run="r", node="w1", boot="b", mono_s=0.0, wall_s=0.0, signals=SIGNALS)


def inside(boot: str, mono_s: float) -> bool:
    return boot == "b" and 10 <= mono_s <= 20


@pytest.mark.parametrize(
    ("mono_s", "marks", "count"),
    [
        (15, "+tt", 1),
        (15, "tt+", 1),
        (15, "t+t", 0),
        (15, "ttt", 0),
        (15, "???", 0),
        (9, "+++", 0),
        (21, "+++", 0),
    ],
)
def test_a_sample_counts_when_it_is_inside_and_has_reached_one(mono_s: float, marks: str, count: int) -> None:
    assert samples_reached([HEAD, Sample(1, mono_s, marks)], inside) == count


def test_another_boot_and_a_sample_without_a_head_count_nothing() -> None:
    other = StreamHead(run="r", node="w1", boot="c", mono_s=0.0, wall_s=0.0, signals=SIGNALS)
    assert samples_reached([Sample(0, 15, "+++"), other, Sample(1, 15, "+++")], inside) == 0
    assert samples_reached([HEAD, *(Sample(n, 15 + n, "+tt") for n in range(3))], inside) == 3

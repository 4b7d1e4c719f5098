"""Routes of real BIRD and FRR end and return as the rehearsal's model of Calico says, through real cuts.

All topologies play at once: their processes wait nearly all the time.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from .lab import BgpLab, Pair, Seen
from .packages import Programs, Unavailable, programs
from .topologies import TOPOLOGIES, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .route_log import Change

pytestmark = pytest.mark.netns

LATE_S = 1.0
"""What a busy machine adds to a time."""


@dataclass(frozen=True, slots=True)
class Window:
    """A change that the model says: between `low` and `high` seconds from the first cut."""

    low: float
    high: float
    reaches: bool

    def holds(self, change: Change) -> bool:
        return change.reaches == self.reaches and self.low - LATE_S <= change.at <= self.high + LATE_S


@pytest.fixture(scope="module")
def built() -> Programs:
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        pytest.skip("needs root, iproute2 and nftables")
    try:
        return programs()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def plays(
    built: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[BgpLab, Future[Seen]]]]:
    with ThreadPoolExecutor(len(TOPOLOGIES)) as threads:
        labs = [
            BgpLab(topology, built, tmp_path_factory.mktemp(f"bgp{number}-"), f"bgp{number}")
            for number, topology in enumerate(TOPOLOGIES)
        ]
        yield {lab.topology.name: (lab, threads.submit(lab.play)) for lab in labs}


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda each: each.name)
def test_routes_end_and_return_within_the_predicted_range(
    topology: Topology, plays: dict[str, tuple[BgpLab, Future[Seen]]]
) -> None:
    lab, play = plays[topology.name]
    seen = play.result()
    wrong = {pair: how for pair in seen.changes if (how := difference(lab, seen, pair))}
    assert wrong == {}, f"logs are in {lab.directory}"


def difference(lab: BgpLab, seen: Seen, pair: Pair) -> str:
    """Return how a pair's changes differ from the model's; "" if they don't."""
    before, *changes = seen.changes[pair]
    routes = lab.routes(seen.periods)
    assert routes.proof.holds, routes.proof.why_not
    if before.reaches is not lab.said(routes, pair, 0):
        return f"before the cut: {before.reaches}"
    said = windows(lab, seen, pair)
    if not changes and not lab.topology.is_sure:
        return ""
    if are_within(said, changes):
        return ""
    return f"predicted {said}, seen {changes} (cuts: {seen.periods})"


def are_within(said: list[Window], changes: list[Change]) -> bool:
    """Whether each predicted change was seen, and no other.

    A route that returns may end and return again within its window: where both ends open a connection, BIRD
    takes one for a restart of its peer.
    """
    left = list(changes)
    for window in said:
        first, *more = [change for change in left if window.holds(change)] or [None]
        if first is None or left[0] is not first:
            return False
        upto = left.index(more[-1] if window.reaches and more else first) + 1
        left = left[upto:]
    return not left


def windows(lab: BgpLab, seen: Seen, pair: Pair) -> list[Window]:
    routes = lab.routes(seen.periods)
    lows, highs = routes.changes_s(lambda low, _: low), routes.changes_s(lambda _, high: high)
    assert len(lows) == len(highs), "the lab's cuts are to leave no doubt about what ends"
    answers = [lab.said(routes, pair, number) for number in range(len(lows) + 1)]
    return [
        Window(low, high, bool(answers[number + 1]))
        for number, (low, high) in enumerate(zip(lows, highs, strict=True))
        if answers[number] != answers[number + 1]
    ]

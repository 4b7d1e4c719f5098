"""How long a Pod stays on a tainted node, and where the scheduler may put it."""

from __future__ import annotations

from math import inf

import pytest

from chaosext.cluster.objects import Taint
from chaosext.rehearsal.simulate.taints import NO_EXECUTE, NO_SCHEDULE, UNREACHABLE, admits, stays_s
from chaosext.rehearsal.snapshot.world import Toleration

OTHER = Taint(key="dedicated", value="db", effect="NoExecute")


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ((), 0.0),
        ((Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute", seconds=300),), 300.0),
        ((Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute"),), inf),
        ((Toleration(operator="Exists"),), inf),
        ((Toleration(key=UNREACHABLE, operator="Exists", effect="NoSchedule"),), 0.0),
        ((Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute", seconds=0),), 0.0),
        ((Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute", seconds=-5),), 0.0),
        ((Toleration(key="node.kubernetes.io/not-ready", operator="Exists", seconds=300),), 0.0),
        ((Toleration(operator="Exists", seconds=7), Toleration(key=UNREACHABLE, operator="Exists")), 7.0),
    ],
)
def test_the_first_matching_toleration_says_how_long(
    tolerations: tuple[Toleration, ...], seconds: float
) -> None:
    assert stays_s(tolerations, (NO_EXECUTE,)) == seconds


def test_the_shortest_of_several_taints_counts() -> None:
    both = (
        Toleration(key=UNREACHABLE, operator="Exists", seconds=300),
        Toleration(key="dedicated", value="db", seconds=60),
    )
    assert stays_s(both, (NO_EXECUTE, OTHER)) == 60
    assert stays_s(both[:1], (NO_EXECUTE, OTHER)) == 0


def test_default_tolerations_admit_no_execute_but_not_no_schedule() -> None:
    default = (Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute", seconds=300),)
    assert admits(default, (NO_EXECUTE,))
    assert not admits(default, (NO_EXECUTE, NO_SCHEDULE))
    assert admits((), (Taint(key="slow", value="", effect="PreferNoSchedule"),))


def test_equal_compares_values() -> None:
    assert admits((Toleration(key="dedicated", value="db"),), (OTHER,))
    assert not admits((Toleration(key="dedicated", value="web"),), (OTHER,))

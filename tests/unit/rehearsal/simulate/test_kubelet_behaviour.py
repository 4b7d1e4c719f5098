"""How sidecars fail without configuration, come back, and hold up injection; how lookups add up."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from worlds import app_spec

from chaosext.rehearsal.simulate import dns_endpoints, dns_lookups
from chaosext.rehearsal.simulate.kubelet_behaviour import (
    BACKOFF_MAX_S,
    crash_loop_s,
    first_failure_s,
    lives,
    resumes_s,
    stops_after_s,
)
from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, retry_after_s, sidecar


def test_back_off_doubles_from_ten_seconds_to_five_minutes() -> None:
    pauses = [later[0] - earlier[1] for earlier, later in pairwise(islice(lives(0.0), 9))]
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]
    assert max(pauses) == BACKOFF_MAX_S


def test_a_held_application_fails_as_on_the_testbed() -> None:
    """Recorded: bound at 67.0 s, first probe refused at 138.1 s, CrashLoopBackOff at 205.9 s."""
    low, high = first_failure_s(SidecarKind.HOLDING)
    assert 69 + low <= 138.1 <= 69 + high + 3
    assert crash_loop_s(SidecarKind.HOLDING, 69.0) == pytest.approx(205.9, abs=3)


@pytest.mark.parametrize("kind", [SidecarKind.NATIVE, SidecarKind.CLASSIC])
def test_others_fail_at_once_and_do_not_crash(kind: SidecarKind) -> None:
    assert first_failure_s(kind)[1] < 10
    assert crash_loop_s(kind, 0.0) is None


def test_configuration_in_time_saves_a_life_and_too_late_costs_a_back_off() -> None:
    (_, first_end), (second, second_end), (third, _) = islice(lives(0.0), 3)
    assert resumes_s(SidecarKind.HOLDING, 0.0, 30.0) == 30.0
    assert resumes_s(SidecarKind.HOLDING, 0.0, first_end - 1) == pytest.approx(second + 3)
    assert resumes_s(SidecarKind.HOLDING, 0.0, second_end - 1) == pytest.approx(third + 3)
    assert resumes_s(SidecarKind.NATIVE, 0.0, 500.0) == 500.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", SidecarKind.NONE),
        ("holding", SidecarKind.HOLDING),
        ("classic", SidecarKind.CLASSIC),
        ("native", SidecarKind.NATIVE),
    ],
)
def test_sidecars_are_told_apart(name: str, kind: SidecarKind) -> None:
    assert sidecar(app_spec("web", sidecar=name)) is kind


def test_refused_controllers_back_off_up_to_a_thousand_seconds() -> None:
    assert retry_after_s(1) == pytest.approx(0.01)
    assert retry_after_s(15) == pytest.approx(163.84)
    assert retry_after_s(40) == 1000.0


@pytest.mark.parametrize(
    ("answers", "cached", "state"),
    [
        ((True, True), False, Dns.RESOLVABLE),
        ((True, False), False, Dns.PARTIAL),
        ((False, False), False, Dns.DEAD),
        ((), False, Dns.DEAD),
        ((), True, Dns.PARTIAL),
        ((False,), True, Dns.PARTIAL),
        ((True, None), False, Dns.UNKNOWN),
        ((None,), True, Dns.UNKNOWN),
    ],
)
def test_lookups_of_one_node(answers: tuple[bool | None, ...], cached: bool, state: Dns) -> None:
    assert dns_endpoints.state(answers, cached=cached) is state


@pytest.mark.parametrize(
    ("states", "all_together"),
    [
        ((Dns.RESOLVABLE, Dns.RESOLVABLE), Dns.RESOLVABLE),
        ((Dns.DEAD, Dns.DEAD), Dns.DEAD),
        ((Dns.DEAD, Dns.RESOLVABLE), Dns.PARTIAL),
        ((Dns.UNKNOWN, Dns.RESOLVABLE), Dns.UNKNOWN),
        ((Dns.UNKNOWN, Dns.DEAD), Dns.PARTIAL),
        ((), Dns.UNKNOWN),
    ],
)
def test_lookups_of_all_nodes(states: tuple[Dns, ...], all_together: Dns) -> None:
    assert dns_lookups.overall(states) is all_together


class TestStopping:
    @pytest.mark.parametrize(("share", "after_s"), [(0.0, 0.2), (0.5, 3.1), (1.0, 32.0)])
    def test_most_pods_end_soon_and_the_last_when_their_grace_period_is_over(
        self, share: float, after_s: float
    ) -> None:
        assert stops_after_s(share, 30.0, simulated=False) == pytest.approx(after_s)

    def test_a_short_grace_period_makes_no_pod_end_sooner_than_the_others(self) -> None:
        assert stops_after_s(1.0, 0.0, simulated=False) == pytest.approx(6.0)

    def test_what_kwok_plays_has_nothing_to_end(self) -> None:
        assert stops_after_s(0.0, 30.0, simulated=True) == 0.0
        assert stops_after_s(1.0, 30.0, simulated=True) < 1.0

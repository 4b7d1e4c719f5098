"""What the TCP triage says on a real kernel: refused and timed out are not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from probe_lab import (
    CLOSED,
    DROPS,
    NO_ROUTE,
    NOBODY,
    RESETS,
    SERVES,
    SERVES_V6,
    Lab,
    lab,
    needs_namespaces,
)

from chaosext.checks import cut_effective
from chaosext.checks.cut_effective import Path
from chaosext.checks.tcp_reachability import Reach, Target, gather, judge
from chaosext.model.findings import Status
from chaosext.nodes.process_shell import NetnsShell

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, needs_namespaces]


@pytest.fixture(scope="module")
def here() -> Iterator[Lab]:
    with lab() as made:
        yield made


def reach(here: Lab, *targets: Target, timeout_s: float = 4.0) -> list[Reach]:
    evidence = gather({here.node: NetnsShell(here.node)}, targets, timeout_s=timeout_s)
    return [connect.reach for connect in evidence.connects]


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (SERVES, 53, Reach.OPEN),
        (SERVES_V6, 53, Reach.OPEN),
        (SERVES, 54, Reach.REFUSED),
        (CLOSED, 53, Reach.REFUSED),
        (DROPS, 53, Reach.TIMED_OUT),
        (RESETS, 15006, Reach.RESET),
        (NO_ROUTE, 53, Reach.NO_ROUTE),
        ("no-such-host.invalid", 53, Reach.UNRESOLVED),
    ],
)
def test_each_way_to_end_has_its_name(here: Lab, host: str, port: int, expected: Reach) -> None:
    assert reach(here, Target(host, port)) == [expected]


def test_an_address_that_nobody_has_is_never_open_or_refused(here: Lab) -> None:
    assert set(reach(here, Target(NOBODY, 53), timeout_s=1.0)) <= {Reach.TIMED_OUT, Reach.NO_ROUTE}


def test_more_targets_than_lanes_are_all_answered_in_order(here: Lab) -> None:
    targets = [Target(SERVES, 53 + number % 2) for number in range(150)]
    expected = [Reach.OPEN if target.port == 53 else Reach.REFUSED for target in targets]
    assert reach(here, *targets) == expected


def test_the_meaning_names_istios_port(here: Lab) -> None:
    evidence = gather({here.node: NetnsShell(here.node)}, [Target(RESETS, 15006)], timeout_s=1.0)
    assert "Envoy inbound" in judge(evidence).evidence[0].detail


def test_a_cut_in_one_family_only_is_seen(here: Lab) -> None:
    shells = {here.node: NetnsShell(here.node)}
    paths = [Path(source=here.node, towards="cp", target=Target(ip, 53)) for ip in (SERVES, SERVES_V6)]
    before = cut_effective.gather(paths, shells, timeout_s=1.0)
    server = NetnsShell(here.server)
    server.run("nft add rule inet lab i ip saddr 10.99.0.1 drop", timeout_s=5)
    half = cut_effective.gather(paths, shells, timeout_s=1.0)
    server.run("nft add rule inet lab i ip6 saddr fd99::1 drop", timeout_s=5)
    whole = cut_effective.gather(paths, shells, timeout_s=1.0)
    server.run(f"nft 'flush chain inet lab i; add rule inet lab i ip daddr {DROPS} drop'", timeout_s=5)
    healed = cut_effective.gather(paths, shells, timeout_s=1.0)
    assert cut_effective.judge(before, half).status is Status.UNHEALTHY
    assert (
        f"IPv6 left open: Node/{here.node} → [{SERVES_V6}]:53 answers"
        in cut_effective.judge(before, half).summary
    )
    assert cut_effective.judge(before, whole).status is Status.HEALTHY
    assert cut_effective.judge_healed(before, healed).status is Status.HEALTHY

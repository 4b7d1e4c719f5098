"""What dns_resolvable's scripts say on a real kernel: each way in which a lookup can end has a name of its
own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from probe_lab import CLOSED, DROPS, NO_ROUTE, NOBODY, SERVES, SERVES_V6, Lab, lab, needs_namespaces

from chaosext.checks.dns_resolvable import LookupAnswer, LookupOutcome, ask_nodes, plan_lookups
from chaosext.nodes.process_shell import NetnsShell

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, needs_namespaces]

NAME = "kubernetes.default.svc.cluster.local"  # a label of length 10: a newline byte in the query


@pytest.fixture(scope="module")
def here() -> Iterator[Lab]:
    with lab() as made:
        yield made


def ask(
    here: Lab,
    address: str,
    name: str = NAME,
    lookups: int = 2,
    timeout_s: float = 4.0,
    expected: frozenset[str] = frozenset(),
) -> tuple[LookupAnswer, ...]:
    plan = plan_lookups([address], {name: expected}, lookups)
    return ask_nodes({here.node: NetnsShell(here.node)}, {here.node: plan}, timeout_s=timeout_s)


def outcomes(answers: tuple[LookupAnswer, ...]) -> dict[str, LookupOutcome]:
    return {answer.lookup.protocol: answer.outcome for answer in answers}


def test_an_answer_with_another_address_is_wrong(here: Lab) -> None:
    assert set(outcomes(ask(here, SERVES, expected=frozenset({"192.0.2.1"}))).values()) == {
        LookupOutcome.ANSWERED
    }
    assert set(outcomes(ask(here, SERVES, expected=frozenset({"10.2.112.1"}))).values()) == {
        LookupOutcome.WRONG
    }


@pytest.mark.parametrize("address", [SERVES, SERVES_V6])
def test_lookups_are_answered_over_both_protocols_and_families(here: Lab, address: str) -> None:
    expected = (
        LookupOutcome.ANSWERED if address == SERVES else LookupOutcome.EMPTY
    )  # the lab has no AAAA record
    assert outcomes(ask(here, address)) == {"udp": expected, "tcp": expected}


def test_the_address_in_the_reply_is_read(here: Lab) -> None:
    assert {answer.detail for answer in ask(here, SERVES)} == {"192.0.2.1"}


def test_a_long_reply_in_pieces_is_read_whole(here: Lab) -> None:
    udp, tcp = ask(here, SERVES, name="big.example")
    assert (udp.outcome, tcp.outcome) == (LookupOutcome.ANSWERED, LookupOutcome.ANSWERED)
    assert tcp.detail.count("192.0.2.") == 199


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("nx.example", LookupOutcome.NXDOMAIN),
        ("fail.example", LookupOutcome.SERVFAIL),
        ("other.example", LookupOutcome.GARBLED),
    ],
)
def test_a_server_that_answers_badly_is_told_apart(here: Lab, name: str, outcome: LookupOutcome) -> None:
    assert set(outcomes(ask(here, SERVES, name)).values()) == {outcome}


def test_a_server_that_says_nothing_times_out(here: Lab) -> None:
    answers = ask(here, SERVES, "mute.example", timeout_s=1.0)
    assert set(outcomes(answers).values()) == {LookupOutcome.TIMED_OUT}


def test_a_host_without_a_server_refuses(here: Lab) -> None:
    assert outcomes(ask(here, CLOSED)) == {"udp": LookupOutcome.REFUSED, "tcp": LookupOutcome.REFUSED}


def test_dropped_packets_time_out(here: Lab) -> None:
    assert outcomes(ask(here, DROPS, timeout_s=1.0)) == {
        "udp": LookupOutcome.TIMED_OUT,
        "tcp": LookupOutcome.TIMED_OUT,
    }


def test_an_address_without_a_route_is_named(here: Lab) -> None:
    assert outcomes(ask(here, NO_ROUTE)) == {"udp": LookupOutcome.NO_ROUTE, "tcp": LookupOutcome.NO_ROUTE}


def test_an_address_that_nobody_has_never_answers(here: Lab) -> None:
    assert set(outcomes(ask(here, NOBODY, timeout_s=1.0)).values()) <= {
        LookupOutcome.TIMED_OUT,
        LookupOutcome.NO_ROUTE,
    }


def test_many_dead_lookups_take_one_timeout_and_not_their_sum(here: Lab) -> None:
    start = time.monotonic()
    answers = ask(here, DROPS, lookups=40, timeout_s=1.0)
    assert {answer.outcome for answer in answers} == {LookupOutcome.TIMED_OUT}
    assert len(answers) == 40
    assert time.monotonic() - start < 15  # one after the other would take 40


def test_sixty_lookups_all_come_back(here: Lab) -> None:
    names = dict.fromkeys([NAME, "istiod.istio-system.svc.cluster.local"], frozenset({"192.0.2.1"}))
    plan = plan_lookups([SERVES, SERVES_V6, SERVES], names, 20)
    answers = ask_nodes({here.node: NetnsShell(here.node)}, {here.node: plan})
    assert len(answers) == 60
    assert all(answer.outcome is LookupOutcome.ANSWERED for answer in answers)

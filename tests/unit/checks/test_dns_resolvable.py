"""dns_resolvable's judgement: every lookup counts, and what wasn't measured is never healthy."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from check_worlds import ScriptedShell, endpoint
from dns.message import from_wire, make_response
from hypothesis import given
from hypothesis import strategies as st

from chaosext.checks.dns_resolvable import (
    DnsEvidence,
    LookupAnswer,
    LookupOutcome,
    ask_nodes,
    backing,
    classify,
    judge,
    plan_lookups,
    read_line,
)
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESSES = ("10.2.112.10", "10.244.1.2", "10.244.2.2")
PLAN = plan_lookups(ADDRESSES, {"kubernetes.default.svc.cluster.local": frozenset()}, 10)


def evidence(
    outcomes: dict[str, Sequence[LookupOutcome]], judged: Sequence[str] = ("w1", "w2")
) -> DnsEvidence:
    answers = tuple(
        LookupAnswer(node=node, lookup=PLAN[index % len(PLAN)], outcome=outcome)
        for node, series in outcomes.items()
        for index, outcome in enumerate(series)
    )
    ends = tuple(endpoint(ip) for ip in ADDRESSES[1:])
    return DnsEvidence(addresses=ADDRESSES, endpoints=ends, judged=tuple(judged), answers=answers)


ALL_WELL = [LookupOutcome.ANSWERED] * 30


def test_every_address_is_asked_over_udp_and_tcp_with_every_name() -> None:
    plan = plan_lookups(["10.2.112.10"], dict.fromkeys(["a.example", "b.example"], frozenset()), 8)
    assert {(each.protocol, each.name) for each in plan} == {
        (protocol, name) for protocol in ("udp", "tcp") for name in ("a.example", "b.example")
    }
    assert len(plan) == 8
    assert len({each.query[:2] for each in plan}) > 1, "each query has an id of its own"


def test_sixty_of_sixty_is_healthy_and_said_so() -> None:
    finding = judge(evidence({"w1": ALL_WELL, "w2": ALL_WELL}))
    assert finding.status is Status.HEALTHY
    assert finding.summary == "60 of 60 lookups answered, from 2 nodes"
    assert len(finding.evidence) == 12
    assert finding.evidence[0].subject == "Node/w1 → 10.2.112.10:53/udp"


def test_a_single_lookup_lost_is_unhealthy_and_named() -> None:
    finding = judge(evidence({"w1": ALL_WELL, "w2": [*ALL_WELL[:-1], LookupOutcome.TIMED_OUT]}))
    assert finding.status is Status.UNHEALTHY
    assert "59 of 60" in finding.summary
    assert "Node/w2 → 10.244.2.2:53/tcp: 4 of 5 answered: 1 timed out" in finding.summary


def test_a_strangers_answer_for_the_api_servers_name_is_called_so() -> None:
    finding = judge(evidence({"w1": ALL_WELL, "w2": [LookupOutcome.NXDOMAIN] * 30}))
    assert finding.status is Status.UNHEALTHY
    assert "5 NXDOMAIN" in finding.summary
    assert "it is not the cluster's DNS that answers" in finding.summary


def test_an_answer_without_a_record_is_no_answer() -> None:
    reply = make_response(from_wire(PLAN[0].query)).to_wire()
    assert classify(0, f"reply:{b64encode(reply).decode()}")[0] is LookupOutcome.EMPTY


def test_the_control_plane_is_reported_and_does_not_decide() -> None:
    finding = judge(evidence({"w1": ALL_WELL, "w2": ALL_WELL, "cp": [LookupOutcome.TIMED_OUT] * 30}))
    assert finding.status is Status.HEALTHY
    assert any(
        row.subject.startswith("Node/cp") and row.status is Status.UNHEALTHY for row in finding.evidence
    )


def test_a_node_that_could_not_be_asked_is_unknown() -> None:
    finding = judge(evidence({"w1": ALL_WELL, "w2": [LookupOutcome.UNKNOWN] * 30}))
    assert finding.status is Status.UNKNOWN


def test_nothing_asked_is_unknown() -> None:
    assert judge(evidence({})).status is Status.UNKNOWN


def test_no_address_behind_the_service_is_unhealthy() -> None:
    whole = evidence({"w1": ALL_WELL, "w2": ALL_WELL})
    without = DnsEvidence(addresses=ADDRESSES[:1], endpoints=(), judged=whole.judged, answers=whole.answers)
    assert judge(without).status is Status.UNHEALTHY


@given(
    st.lists(st.sampled_from(list(LookupOutcome)), max_size=30),
    st.lists(st.sampled_from(list(LookupOutcome)), max_size=30),
)
def test_healthy_means_that_everything_was_answered(
    first: list[LookupOutcome], second: list[LookupOutcome]
) -> None:
    finding = judge(evidence({"w1": first, "w2": second}))
    everything = set(first) | set(second)
    assert (finding.status is Status.HEALTHY) == (everything == {LookupOutcome.ANSWERED})


def test_without_a_shell_every_lookup_is_unknown() -> None:
    answers = ask_nodes({}, ["w1"], PLAN)
    assert {answer.outcome for answer in answers} == {LookupOutcome.UNKNOWN}
    assert answers[0].detail == "no shell on the node"


def test_an_unreachable_node_does_not_hide_the_others() -> None:
    gone = ScriptedShell("w1", Unreachable("w1: no answer within 7 s"))
    answers = ask_nodes({"w1": gone}, ["w1", "w2"], PLAN)
    assert len(answers) == 60
    assert "no answer within" in answers[0].detail
    assert gone.calls == 1


def test_endpoints_that_proxies_do_not_use_are_left_out() -> None:
    ready, unready = endpoint("10.244.1.2"), endpoint("10.244.1.3", ready=False)
    leaving = endpoint("10.244.1.4", terminating=True)
    assert backing([ready, unready, leaving]) == (ready,)
    assert backing([unready, leaving]) == (unready,)


@pytest.mark.parametrize(
    ("status", "message", "outcome"),
    [
        (124, "", LookupOutcome.TIMED_OUT),
        (124, "reply:", LookupOutcome.TIMED_OUT),
        (0, "dd: error reading 'standard input': Connection refused reply:", LookupOutcome.REFUSED),
        (97, "ask: line 2: connect: Network is unreachable", LookupOutcome.NO_ROUTE),
        (97, "ask: connect: No route to host", LookupOutcome.NO_ROUTE),
        (0, "head: error reading 'standard input': Connection reset by peer reply:", LookupOutcome.RESET),
        (0, "reply:", LookupOutcome.GARBLED),
        (0, "reply:AAAA", LookupOutcome.GARBLED),
        (0, "reply:%%%", LookupOutcome.GARBLED),
        (127, "base64: command not found", LookupOutcome.GARBLED),
    ],
)
def test_what_bash_says_becomes_an_outcome(status: int, message: str, outcome: LookupOutcome) -> None:
    assert classify(status, message)[0] is outcome


@given(st.integers(0, 255), st.text(max_size=60))
def test_only_a_dns_reply_counts_as_answered(status: int, message: str) -> None:
    outcome, _ = classify(status, message)
    assert outcome is not LookupOutcome.ANSWERED


def test_an_unreadable_line_is_unknown() -> None:
    assert read_line("what?")[0] is LookupOutcome.UNKNOWN

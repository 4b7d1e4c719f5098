"""dns_resolvable's judgement: every lookup counts, and what wasn't measured is never healthy."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from check_worlds import ScriptedShell, endpoint, node
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
    gather,
    judge,
    plan_lookups,
    read_line,
)
from chaosext.cluster.client import NotFound
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.nodes.shell import ShellResult

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
    answers = ask_nodes({}, {"w1": PLAN})
    assert {answer.outcome for answer in answers} == {LookupOutcome.UNKNOWN}
    assert answers[0].detail == "no shell on the node"


def test_an_unreachable_node_does_not_hide_the_others() -> None:
    gone = ScriptedShell("w1", Unreachable("w1: no answer within 7 s"))
    answers = ask_nodes({"w1": gone}, {"w1": PLAN, "w2": PLAN})
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


CONFIG = (
    "apiVersion: kubelet.config.k8s.io/v1beta1\nclusterDNS:\n- 169.254.20.10\nclusterDomain: cluster.local\n"
)


class SmallCluster:
    """Two workers, kube-dns with one Pod; `config`: kubeadm's ConfigMap, None for none."""

    context = "kind-small"

    def __init__(self, config: str | None = None) -> None:
        self._config = config

    def nodes(self) -> Any:
        return (node("w1", "172.18.0.3"), node("w2", "172.18.0.4"))

    def service(self, _space: str, name: str) -> Any:
        if name == "istiod":
            raise NotFound(name)
        return SimpleNamespace(cluster_ips=("10.2.112.10" if name == "kube-dns" else "10.2.112.1",))

    def endpoint_slices(self, *_: str) -> Any:
        return (endpoint("10.244.1.2"),)

    def get(self, *_: Any, **__: Any) -> Any:
        if self._config is None:
            raise NotFound("kubelet-config")
        return {"data": {"kubelet": self._config}}


class KubeletShell:
    """A node with that configuration of kubelet, whose lookups all get an answer."""

    def __init__(self, name: str, config: str) -> None:
        self.node, self._config = name, config
        self.asked: list[str] = []

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        if not stdin:
            return ShellResult(0, self._config, "")
        rows = [line.split() for line in stdin.splitlines()[1:]]
        self.asked += [address for _, _, address, _, _ in rows]
        return ShellResult(0, "".join(f"{row[0]} 0 100 reply:{_reply(row[4], row[1])}\n" for row in rows), "")


def _reply(query: str, protocol: str) -> str:
    from dns.rrset import from_text

    asked = from_wire(b64decode(query)[2 if protocol == "tcp" else 0 :])
    reply = make_response(asked)
    reply.answer.append(from_text(asked.question[0].name, 5, "IN", "A", "10.2.112.1"))
    return b64encode(reply.to_wire()).decode()


def asked_of(config: str, common: str | None = None) -> tuple[DnsEvidence, list[str]]:
    shells: Any = {name: KubeletShell(name, config) for name in ("w1", "w2")}
    evidence = gather(SmallCluster(common), shells, lookups=2)  # type: ignore[arg-type]
    return evidence, list(dict.fromkeys(shells["w1"].asked))


def test_a_cache_on_the_node_is_asked_first_and_the_service_too() -> None:
    evidence, asked = asked_of(CONFIG)
    assert asked == ["169.254.20.10", "10.2.112.10", "10.244.1.2"]
    finding = judge(evidence)
    assert finding.status is Status.HEALTHY
    assert "(Pods ask 169.254.20.10)" in finding.summary
    row = next(each for each in finding.evidence if each.subject == "Node/w1 → 169.254.20.10:53/udp")
    assert "Pods ask here, by kubelet's /var/lib/kubelet/config.yaml" in row.detail


def test_the_config_map_says_what_the_node_does_not_show() -> None:
    evidence, asked = asked_of("", CONFIG)
    assert asked[0] == "169.254.20.10"
    assert evidence.handed_out
    assert evidence.handed_out.source == "ConfigMap kube-system/kubelet-config"


def test_the_services_own_address_is_asked_once() -> None:
    evidence, asked = asked_of(CONFIG.replace("169.254.20.10", "10.2.112.10"))
    assert asked == ["10.2.112.10", "10.244.1.2"]
    assert "Pods ask" not in judge(evidence).summary


def test_a_nameserver_that_cannot_be_read_is_said_and_the_service_is_asked() -> None:
    evidence, asked = asked_of("")
    assert asked == ["10.2.112.10", "10.244.1.2"]
    row = next(each for each in judge(evidence).evidence if each.subject == "clusterDNS")
    assert (row.status, row.counts) == (Status.UNKNOWN, False)


def test_a_dead_cache_is_unhealthy_though_the_service_answers() -> None:
    evidence, _ = asked_of(CONFIG)
    dead = tuple(
        replace(each, outcome=LookupOutcome.TIMED_OUT) if each.lookup.address == "169.254.20.10" else each
        for each in evidence.answers
    )
    assert judge(replace(evidence, answers=dead)).status is Status.UNHEALTHY

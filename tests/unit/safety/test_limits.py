"""The limits of a cut: what is refused, by which limit, and where that is set."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaosext.cluster.objects import Node, Pod
from chaosext.model.errors import Refused
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.safety.limits import Footprint, Hours, Limits, check_peers, footprint, in_force

MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
NODES = tuple(
    Node.from_json(
        {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}
    )
    for name, address in (("cp-0", "10.0.0.1"), ("w-1", "10.0.0.2"), ("w-2", "10.0.0.3"))
)


def a_cut(*, nodes: int = 1, prefixes: tuple[str, ...] = (), ttl_s: float = 60.0) -> Cut:
    return Cut(
        run="r1",
        owner="a@b",
        nodes=tuple(NodeCut(node=f"cp-{n}", uplinks=("eth0",)) for n in range(nodes)),
        peers=peers_of(["10.0.0.2"], prefixes),
        ttl_s=ttl_s,
    )


def a_pod(namespace: str, on: str, ip: str = "10.244.0.9", phase: str = "Running") -> Pod:
    return Pod.from_json(
        {
            "metadata": {"name": "db-0", "namespace": namespace, "uid": "1"},
            "spec": {"nodeName": on},
            "status": {"phase": phase, "podIPs": [{"ip": ip}]},
        }
    )


def asked(*pods: Pod, total_nodes: int = 3, at: datetime = MONDAY, **cut: Any) -> Footprint:
    return replace(footprint(a_cut(**cut), NODES, pods, at), total_nodes=total_nodes)


def limits(**bounds: Any) -> Limits:
    return Limits(place="/etc/x.yaml", **bounds)


def refusal(bounds: Limits, footprint: Footprint) -> Refused:
    with pytest.raises(Refused) as caught:
        bounds.check(footprint)
    return caught.value


def test_a_cut_at_the_limits_passes() -> None:
    bounds = limits(
        max_ttl_s=900,
        max_node_share=0.75,
        protected_nodes=("w-2", "db-*"),
        protected_namespaces=("bank",),
        allowed_hours=(Hours.parse("Mon 10:00-10:15 UTC"),),
    )
    bounds.check(asked(a_pod("bank", "w-2"), a_pod("shop", "w-1"), ttl_s=900, nodes=3, total_nodes=4))


def test_no_limits_are_no_limits() -> None:
    limits().check(asked(a_pod("bank", "w-1"), ttl_s=10_000, nodes=3))


def test_a_ttl_beyond_the_limit_is_refused_with_its_value_and_where_it_is_set() -> None:
    error = refusal(limits(max_ttl_s=120), asked(ttl_s=120.1))
    assert error.message == "ttl_s: 120.1 s is too long (max_ttl_s is 120 s in /etc/x.yaml)"
    assert error.fix == "request less, or change max_ttl_s there if you may"


def test_an_experiments_limit_is_named_as_its_key_is_written() -> None:
    bounds = Limits(place="the experiment", prefix="configuration.chaosext_", max_ttl_s=5)
    assert "(configuration.chaosext_max_ttl_s is 5 s in the experiment)" in refusal(bounds, asked()).message


@pytest.mark.parametrize(("nodes", "total"), [(1, 1), (4, 5), (3, 3)])
def test_rules_on_too_many_of_the_nodes_are_refused(nodes: int, total: int) -> None:
    error = refusal(limits(max_node_share=0.75), asked(nodes=nodes, total_nodes=total))
    assert error.message == (
        f"nodes: rules on {nodes} of {total} nodes exceed the limit (max_node_share is 75% in /etc/x.yaml)"
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("cp-0", "nodes: cp-0 may not carry rules"),
        ("cp-*", "nodes: cp-0 may not carry rules"),
        ("w-1", "nodes: w-1 may not be cut off"),
        ("w-[0-9]", "nodes: w-1 may not be cut off"),
    ],
)
def test_a_protected_node_is_neither_cut_nor_cut_off(pattern: str, said: str) -> None:
    error = refusal(limits(protected_nodes=("db-*", pattern)), asked())
    assert error.message == f"{said} (protected_nodes is {pattern} in /etc/x.yaml)"


@pytest.mark.parametrize(
    ("pod", "touched"),
    [
        (a_pod("bank", "cp-0"), True),
        (a_pod("bank", "w-1"), True),
        (a_pod("bank", "w-2"), False),
        (a_pod("bank", "w-2", ip="10.0.0.2"), True),
        (a_pod("bank", "w-1", phase="Succeeded"), False),
        (a_pod("bank", "w-1", phase="Failed"), False),
        (a_pod("shop", "w-1"), False),
    ],
)
def test_pods_of_a_protected_namespace_are_not_where_a_cut_is(pod: Pod, touched: bool) -> None:
    bounds = limits(protected_namespaces=("other", "bank"))
    if not touched:
        return bounds.check(asked(pod))
    assert refusal(bounds, asked(pod)).message == (
        f"nodes: the cut would touch bank/db-0 on {pod.node} (protected_namespaces is bank in /etc/x.yaml)"
    )
    return None


def test_pods_of_a_protected_namespace_are_not_deleted() -> None:
    limits(protected_namespaces=("bank",)).check_deletion("kube-system")
    with pytest.raises(
        Refused, match=r"Pods of namespace bank may not be deleted \(protected_namespaces is bank"
    ):
        limits(protected_namespaces=("bank",)).check_deletion("bank")


def test_all_of_the_ttl_has_to_be_within_the_allowed_hours() -> None:
    bounds = limits(allowed_hours=(Hours.parse("Mon 09:00-10:00 UTC"), Hours.parse("Mon 10:00-10:01 UTC")))
    bounds.check(asked(ttl_s=60))
    assert refusal(bounds, asked(ttl_s=61)).message == (
        "ttl_s: Mon 10:00:00 to Mon 10:01:01 UTC is not all within the allowed hours "
        "(allowed_hours is Mon 09:00-10:00 UTC; Mon 10:00-10:01 UTC in /etc/x.yaml)"
    )


@pytest.mark.parametrize("prefix", ["10.0.0.0/7", "fc00::/15"])
def test_a_prefix_that_holds_more_than_nodes_is_refused(prefix: str) -> None:
    with pytest.raises(Refused, match="wider than the limit"):
        check_peers(a_cut(prefixes=(prefix,)))
    check_peers(a_cut(prefixes=("10.0.0.0/8", "fc00::/16")))


NOTHING = Limits(place="the experiment")


@pytest.mark.parametrize(
    ("operator", "experiment", "ttl_s", "passes"),
    [
        (None, None, 900, True),
        (None, None, 900.1, False),
        (None, 1200, 1200, True),
        (None, 1200, 1200.1, False),
        (None, 9999, 3600.1, False),
        (1200, None, 1200, True),
        (1200, None, 1200.1, False),
        (300, 1200, 300, True),
        (300, 1200, 300.1, False),
        (1200, 300, 300.1, False),
    ],
)
def test_an_experiment_can_only_tighten_what_the_operator_set(
    operator: float | None, experiment: float | None, ttl_s: float, passes: bool
) -> None:
    all_of_them = in_force(limits(max_ttl_s=experiment), limits(max_ttl_s=operator))
    if passes:
        return [each.check(asked(ttl_s=ttl_s)) for each in all_of_them] and None
    with pytest.raises(Refused, match="max_ttl_s"):
        [each.check(asked(ttl_s=ttl_s)) for each in all_of_them]
    return None


@pytest.mark.parametrize(
    ("operator", "experiment", "built_in"), [(None, None, 0.75), (None, 1.0, 0.75), (0.9, None, 1.0)]
)
def test_the_built_in_share_gives_way_to_the_operator_only(
    operator: float | None, experiment: float | None, built_in: float
) -> None:
    set_by_operator = [limits(max_node_share=operator)] if operator else []
    first, *others = in_force(limits(max_node_share=experiment), *set_by_operator)
    assert (first.place, first.max_node_share) == ("chaosext itself", built_in)
    assert [each.max_node_share for each in others] == ([operator] if operator else []) + [experiment]


def test_each_refusal_says_what_to_do() -> None:
    shares = refusal(limits(max_node_share=0.5), asked(nodes=3, total_nodes=4))
    assert shares.fix == (
        "cut on the side with fewer nodes, such as the control plane's, or fewer of them, "
        "or change max_node_share there if you may"
    )
    hours = refusal(limits(allowed_hours=(Hours.parse("Tue 09:00-10:00 UTC"),)), asked())
    assert hours.fix == (
        "run within the allowed hours, or request a shorter cut, or change allowed_hours there if you may"
    )
    with pytest.raises(Refused) as refused:
        check_peers(a_cut(prefixes=("10.0.0.0/7",)))
    assert refused.value.fix == "list the nodes' own prefixes or addresses"


def test_a_footprint_counts_all_nodes_of_the_cluster() -> None:
    assert footprint(a_cut(), NODES, (), MONDAY).total_nodes == 3


@pytest.mark.parametrize(("let_go_s", "until_s"), [(None, 60), (59, 60), (61, 61)])
def test_a_cut_is_over_when_its_nodes_let_go_and_no_sooner_than_its_ttl(
    let_go_s: float | None, until_s: float
) -> None:
    let_go = None if let_go_s is None else MONDAY + timedelta(seconds=let_go_s)
    assert footprint(a_cut(), NODES, (), MONDAY, let_go).until == MONDAY + timedelta(seconds=until_s)


def test_every_protected_node_that_is_touched_is_named() -> None:
    error = refusal(limits(protected_nodes=("cp-*",)), asked(nodes=2))
    assert error.message == "nodes: cp-0, cp-1 may not carry rules (protected_nodes is cp-* in /etc/x.yaml)"

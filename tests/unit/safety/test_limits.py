from __future__ import annotations

import pytest

from chaosext.model.errors import Refused
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.safety.limits import Limits


def a_cut(*, nodes: int = 1, prefixes: tuple[str, ...] = (), ttl_s: float = 60.0) -> Cut:
    return Cut(
        run="r1",
        owner="a@b",
        nodes=tuple(NodeCut(node=f"cp-{n}", uplinks=("eth0",)) for n in range(nodes)),
        peers=peers_of(["10.0.0.2"], prefixes),
        ttl_s=ttl_s,
    )


def test_a_cut_at_the_limits_passes() -> None:
    Limits().check(a_cut(ttl_s=900, nodes=3, prefixes=("10.0.0.0/8", "fc00::/16")), total_nodes=4)


def test_a_ttl_beyond_the_limit_is_refused_with_its_value_and_where_it_is_set() -> None:
    with pytest.raises(Refused) as caught:
        Limits(max_ttl_s=120).check(a_cut(ttl_s=120.1), total_nodes=3)
    assert "ttl_s: 120.1 s is beyond the limit of 120 s (max_ttl_s)" in str(caught.value)
    assert "configuration.chaosext_max_ttl_s" in caught.value.fix


@pytest.mark.parametrize(("nodes", "total"), [(1, 1), (4, 5), (3, 3)])
def test_rules_on_too_many_of_the_nodes_are_refused(nodes: int, total: int) -> None:
    with pytest.raises(
        Refused, match=rf"nodes: rules on {nodes} of {total} nodes are beyond the limit of 75%"
    ):
        Limits().check(a_cut(nodes=nodes), total_nodes=total)


@pytest.mark.parametrize("prefix", ["10.0.0.0/7", "fc00::/15"])
def test_a_prefix_that_holds_more_than_nodes_is_refused(prefix: str) -> None:
    with pytest.raises(Refused, match="wider than the limit"):
        Limits().check(a_cut(prefixes=(prefix,)), total_nodes=3)

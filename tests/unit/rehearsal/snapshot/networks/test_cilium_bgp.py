"""Cilium's BGP objects: what is kept of them says the same as the whole, whatever they contain."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import node

from chaosext.model.errors import MALFORMED
from chaosext.rehearsal.snapshot.networks.cilium_bgp import (
    ADVERTISEMENT,
    CLUSTER_CONFIG,
    PEER_CONFIG,
    POLICY,
    Announcements,
    kept,
)
from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns

NODES = (node("cp-1", control_plane=True, ip="10.0.0.1"), node("worker-1", ip="10.0.0.2", rack="r0"))

labels = st.dictionaries(
    st.sampled_from(["rack", "advertise", "x"]), st.sampled_from(["r0", "bgp", ""]), max_size=2
)
selectors = st.none() | st.fixed_dictionaries({}, optional={"matchLabels": labels})
addresses = st.sampled_from(["10.0.0.254", "10.0.0.254/32", "10.0.0.1", "", None])
anything = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


def objects(kind: str, spec: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    meta = st.fixed_dictionaries(
        {"name": st.sampled_from(["leaf", "b"])}, optional={"labels": st.none() | labels}
    )
    return st.tuples(st.just(kind), st.fixed_dictionaries({"metadata": meta, "spec": spec | anything}))


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={**fields, "password": st.just("s3cr3t")})


def several(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(each, max_size=2) | anything


policies = record(
    nodeSelector=selectors,
    virtualRouters=several(
        record(
            exportPodCIDR=st.booleans() | anything,
            podIPPoolSelector=st.none() | selectors,
            neighbors=several(record(peerAddress=addresses)),
        )
    ),
)
peers = record(
    peerAddress=addresses,
    peerConfigRef=record(name=st.sampled_from(["leaf", "c"])) | anything,
    autoDiscovery=selectors,
)
cluster_configs = record(nodeSelector=selectors, bgpInstances=several(record(peers=several(peers))))
peer_configs = record(
    families=several(record(afi=st.sampled_from(["ipv4", "ipv6"]), advertisements=selectors))
)
kinds = st.sampled_from(["PodCIDR", "Service", "CiliumPodIPPool"]) | anything
advertisements = record(advertisements=several(record(advertisementType=kinds)))

every = st.lists(
    objects(POLICY, policies)
    | objects(CLUSTER_CONFIG, cluster_configs)
    | objects(PEER_CONFIG, peer_configs)
    | objects(ADVERTISEMENT, advertisements),
    max_size=6,
)


def announced(found: list[tuple[str, Any]]) -> tuple[set[str], list[str]]:
    documents: dict[str, list[Any]] = {}
    for kind, each in found:
        documents.setdefault(kind, []).append(each)
    made = Announcements(NetworkSigns(nodes=NODES, pods=(), documents=documents))
    return made.nodes, sorted(map(str, made.doubts))


@given(every)
@settings(max_examples=examples(200))
def test_what_is_kept_says_the_same_as_the_whole(found: list[tuple[str, Any]]) -> None:
    with suppress(*MALFORMED):
        whole = announced(found)
        little = [(kind, kept(kind, each)) for kind, each in found]
        assert announced(little) == whole
        assert "s3cr3t" not in str(little)


def test_routes_of_the_other_family_are_not_announced() -> None:
    instance = {"peers": [{"peerAddress": "10.0.0.254", "peerConfigRef": {"name": "leaf"}}]}
    found = [
        (CLUSTER_CONFIG, {"metadata": {"name": "a"}, "spec": {"bgpInstances": [instance]}}),
        (
            ADVERTISEMENT,
            {"metadata": {"name": "p"}, "spec": {"advertisements": [{"advertisementType": "PodCIDR"}]}},
        ),
    ]
    for afi, nodes in (("ipv4", {"cp-1", "worker-1"}), ("ipv6", set())):
        peer = {"metadata": {"name": "leaf"}, "spec": {"families": [{"afi": afi, "advertisements": {}}]}}
        assert announced([*found, (PEER_CONFIG, peer)]) == (nodes, [])

"""The gate never says go where it isn't proven who reaches whose Pods, nor where a snapshot lacks what would say so."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from listings import (
    AGENTS,
    CALICO,
    CALICO_API,
    CONTROL_PLANE,
    LEAF,
    NO_MESH,
    POOL,
    SMALL,
    Item,
    agent,
    item,
    listed,
    pod,
    written,
)

from chaosext.gate.cutover_plan import Acceptance, Cutover, Selection
from chaosext.gate.decision import Decision
from chaosext.gate.judge import judge
from chaosext.rehearsal.snapshot.reader import read_snapshot

LONG_S, SHORT_S = 480.0, 5.0
"""After the one kube-dns has moved; the other moves nothing, so that only the routes can stand against it."""

NODES = ("cp-1", "worker-1", "worker-2")
BARE = tuple(each for each in SMALL if each not in (*CALICO, *AGENTS))


def agents(name: str, **labels: str) -> tuple[Item, ...]:
    made = tuple(agent(on, name) for on in NODES)
    for each in made:
        each["metadata"]["labels"] = labels or {"k8s-app": name}
    return made


def annotated(key: str, value: str) -> tuple[Item, ...]:
    """The bare cluster, its nodes with an annotation."""
    return tuple(
        {**each, "metadata": {**each["metadata"], "annotations": {key: value}}}
        if each["kind"] == "Node"
        else each
        for each in BARE
    )


def flannel(backend: str) -> tuple[Item, ...]:
    return (
        *annotated("flannel.alpha.coreos.com/backend-type", backend),
        *agents("kube-flannel-ds", app="flannel"),
    )


def peer(name: str, **spec: Any) -> Item:
    return item("BGPPeer", name, api=CALICO_API, spec={"asNumber": 64512, **spec})


def pool(**spec: Any) -> Item:
    return item("IPPool", "pods", api=CALICO_API, spec={"cidr": "10.244.0.0/16", **spec})


def config(**data: str) -> Item:
    return item("ConfigMap", "cilium-config", "kube-system", data=data)


MESH = item("BGPConfiguration", "default", api=CALICO_API, spec={"nodeToNodeMeshEnabled": True})
REFLECTOR = item(
    "Node",
    "cp-1",
    api="projectcalico.org/v3",
    spec={"bgp": {"ipv4Address": "10.0.0.1/24", "routeReflectorClusterID": "1.0.0.1"}},
)
BY_LABEL = peer("rr", peerSelector="has(node-role.kubernetes.io/control-plane)")
FROM_THE_OTHER_SIDE = (
    peer("a", node="cp-1", peerIP="10.0.0.2"),
    peer("b", node="cp-1", peerIP="10.0.0.3"),
)
AS_CNI = item("Installation", "default", api="operator.tigera.io/v1", spec={"cni": {"type": "Calico"}})
NATIVE, TUNNEL = {"routing-mode": "native"}, {"routing-mode": "tunnel"}
SPEAKING = {"enable-bgp-control-plane": "true"}
CILIUM_BGP = item("CiliumBGPClusterConfig", "rack0", api="cilium.io/v2alpha1", spec={})
ANNOUNCED = item(
    "CiliumBGPPeeringPolicy",
    "rack0",
    api="cilium.io/v2alpha1",
    spec={
        "nodeSelector": {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "DoesNotExist"}]},
        "virtualRouters": [{"exportPodCIDR": True, "neighbors": [{"peerAddress": "10.0.0.254/32"}]}],
    },
)
EBPF = item("FelixConfiguration", "default", api=CALICO_API, spec={"bpfEnabled": True})
TYPHA_DEPLOYMENT = item("Deployment", "calico-typha", "kube-system", "apps/v1")
TYPHA = pod("typha-1", "worker-1", "kube-system", "ReplicaSet/typha-1", {"k8s-app": "calico-typha"})


def routers(*flags: str) -> tuple[Item, ...]:
    made = agents("kube-router")
    for each in made:
        each["spec"]["containers"] = [{"name": "kube-router", "args": ["--run-router=true", *flags]}]
    return (*BARE, *made)


NOT_GO: dict[str, tuple[tuple[Item, ...], float]] = {
    "the story": (SMALL, LONG_S),
    "reflectors by label": ((*BARE, *AGENTS, NO_MESH, POOL, REFLECTOR, BY_LABEL), LONG_S),
    "peers by a node's address": (
        (*BARE, *AGENTS, NO_MESH, POOL, *(peer(on, node=on, peerIP="10.0.0.1") for on in NODES[1:])),
        LONG_S,
    ),
    "peers the other way round": ((*BARE, *AGENTS, NO_MESH, POOL, *FROM_THE_OTHER_SIDE), LONG_S),
    "leafs, and no word about the mesh": ((*BARE, *AGENTS, POOL, LEAF), SHORT_S),
    "tunnels through a leaf": ((*BARE, *AGENTS, NO_MESH, LEAF, pool(ipipMode="Always")), SHORT_S),
    "tunnels through a leaf, between subnets": (
        (*BARE, *AGENTS, NO_MESH, LEAF, pool(ipipMode="CrossSubnet")),
        SHORT_S,
    ),
    "flannel with several backends": (
        (
            *annotated("flannel.alpha.coreos.com/backend-type", "vxlan")[:1],
            *annotated("flannel.alpha.coreos.com/backend-type", "host-gw")[1:],
            *agents("kube-flannel-ds", app="flannel"),
        ),
        SHORT_S,
    ),
    "Amazon's VPC, and Calico as CNI": ((*BARE, *AGENTS, *agents("aws-node"), *CALICO, AS_CNI), SHORT_S),
    "Cilium": ((*BARE, *agents("cilium"), config(ipam="kubernetes")), SHORT_S),
    "Cilium's native routing": (
        (*BARE, *agents("cilium"), config(**NATIVE, **SPEAKING), CILIUM_BGP),
        SHORT_S,
    ),
    "the story on Cilium's BGP": (
        (*BARE, *agents("cilium"), config(**NATIVE, **SPEAKING), ANNOUNCED),
        LONG_S,
    ),
    "kube-router's mesh, in a cut that outlasts its hold time": (routers(), LONG_S),
    "Calico's eBPF, with Typha across the cut": (
        (*BARE, *AGENTS, pool(vxlanMode="Always"), EBPF, TYPHA_DEPLOYMENT, TYPHA),
        SHORT_S,
    ),
    "kube-router": ((*BARE, *agents("kube-router")), SHORT_S),
    "Antrea without its settings": ((*BARE, *agents("antrea-agent", app="antrea")), SHORT_S),
    "nothing": (BARE, SHORT_S),
}

DECIDED_AGAINST = (
    "the story",
    "reflectors by label",
    "the story on Cilium's BGP",
    "kube-router's mesh, in a cut that outlasts its hold time",
)

GO: dict[str, tuple[Item, ...]] = {
    "Calico with its leaf": SMALL,
    "Calico's VXLAN": (*BARE, *AGENTS, pool(vxlanMode="Always")),
    "Calico's VXLAN between subnets": (*BARE, *AGENTS, pool(vxlanMode="CrossSubnet")),
    "Calico's mesh": (*BARE, *AGENTS, MESH, POOL),
    "Calico's default mesh": (*BARE, *AGENTS, POOL),
    "Calico's tunnels in the mesh": (*BARE, *AGENTS, MESH, pool(ipipMode="Always")),
    "reflectors, in a cut that ends before their hold time": (
        *BARE,
        *AGENTS,
        NO_MESH,
        POOL,
        REFLECTOR,
        BY_LABEL,
    ),
    "Canal": (*annotated("flannel.alpha.coreos.com/backend-type", "vxlan"), *agents("canal"), *CALICO),
    "Cilium's tunnels": (*BARE, *agents("cilium"), config(**TUNNEL)),
    "Cilium's BGP beside tunnels": (*BARE, *agents("cilium"), config(**TUNNEL, **SPEAKING), CILIUM_BGP),
    "kube-router": routers("--bgp-graceful-restart=true"),
    "flannel's VXLAN": flannel("vxlan"),
    "flannel's host-gw": flannel("host-gw"),
    "kindnet": (*BARE, *agents("kindnet")),
    "OVN-Kubernetes": (*BARE, *agents("ovnkube-node")),
    "Amazon's VPC": (*BARE, *agents("aws-node")),
}


@cache
def plan(cut_for_s: float) -> Cutover:
    return Cutover(
        title="t",
        selection=Selection(selector="!node-role.kubernetes.io/control-plane"),
        cut_for_s=cut_for_s,
        at_most_s=cut_for_s,
        accept=Acceptance(probability=0.5),
    )


def decided(items: tuple[Item, ...], cut_for_s: float) -> Decision:
    with tempfile.TemporaryDirectory() as directory:
        world = read_snapshot([written(Path(directory) / "c.json", listed(*items))])
    return judge(world, plan(cut_for_s)).decision


@pytest.mark.parametrize("name", GO)
def test_where_routes_are_proven_a_cut_that_moves_nothing_is_a_go(name: str) -> None:
    assert decided(GO[name], SHORT_S) is Decision.GO


@pytest.mark.parametrize("name", NOT_GO)
def test_where_they_are_not_it_is_none(name: str) -> None:
    expected = Decision.NO_GO if name in DECIDED_AGAINST else Decision.NOT_KNOWN
    assert decided(*NOT_GO[name]) is expected


def describes_the_network(each: Item) -> bool:
    kinds = (
        "BGPPeer",
        "BGPConfiguration",
        "IPPool",
        "ConfigMap",
        "CiliumBGPClusterConfig",
        "CiliumBGPPeeringPolicy",
    )
    agent_of = each["kind"] == "Pod" and each["metadata"]["name"].endswith(NODES)
    return each["kind"] in kinds or agent_of or each in (REFLECTOR, TYPHA)


def without_annotations(each: Item) -> Item:
    return {**each, "metadata": {key: v for key, v in each["metadata"].items() if key != "annotations"}}


@st.composite
def incomplete(draw: st.DrawFn) -> tuple[str, tuple[Item, ...], float]:
    """A snapshot that wasn't a go, less one object, one kind, or what one node says of its network."""
    name = draw(st.sampled_from(sorted(NOT_GO)))
    items, cut_for_s = NOT_GO[name]
    about = [each for each in items if describes_the_network(each)]
    if name == "leafs, and no word about the mesh":  # without its leaf it is Calico's default, the mesh
        about = [each for each in about if each["kind"] != "BGPPeer"]
    how = draw(st.sampled_from(["object", "kind", "annotation"]))
    if how == "annotation" or not about:
        node = draw(st.sampled_from(NODES))
        return (
            name,
            tuple(without_annotations(each) if each["metadata"]["name"] == node else each for each in items),
            cut_for_s,
        )
    gone = draw(st.sampled_from(about))
    if how == "kind":
        return (
            name,
            tuple(each for each in items if each["kind"] != gone["kind"] or each not in about),
            cut_for_s,
        )
    return name, tuple(each for each in items if each is not gone), cut_for_s


@given(incomplete())
@settings(max_examples=examples(70))
def test_what_is_left_out_never_turns_it_to_go(case: tuple[str, tuple[Item, ...], float]) -> None:
    name, items, cut_for_s = case
    assert decided(items, cut_for_s) is not Decision.GO, name

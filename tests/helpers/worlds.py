"""Clusters as values: the testbed's, and what tests change about them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.cluster.objects import BgpPeer, IpPool, Taint
from chaosext.cluster.timings import Timings
from chaosext.rehearsal.snapshot.world import (
    Affinity,
    Container,
    ControlPlane,
    LabelSelector,
    Mesh,
    Network,
    Node,
    NodeTerm,
    Plugin,
    Pod,
    PodSpec,
    PodTerm,
    Probe,
    Requirement,
    Resources,
    Service,
    Toleration,
    Workload,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
CONTROL_PLANE_TAINT = Taint(key=CONTROL_PLANE_LABEL, value="", effect="NoSchedule")
ACCELERATED = ControlPlane(
    timings=Timings(grace_s=20.0, toleration_s=20.0, source="tests"), version="v1.34.4"
)
PRODUCTION = ControlPlane(version="v1.34.4")
LEAF = BgpPeer(
    name="leaf",
    peer_ip="172.18.0.5",
    node="",
    node_selector=f"!has({CONTROL_PLANE_LABEL})",
    peer_selector="",
    as_number=64512,
)
POOL = IpPool(name="pool", cidr="10.244.0.0/16", ipip_mode="Never", vxlan_mode="Never", disabled=False)
CALICO = Network(plugin=Plugin.CALICO, peers=(LEAF,), full_mesh=False, pools=(POOL,))
ROUTED = Network(plugin=Plugin.ROUTED)


def unreachable_for(seconds: int | None) -> tuple[Toleration, ...]:
    """What the admission plugin DefaultTolerationSeconds adds."""
    return tuple(
        Toleration(key=f"node.kubernetes.io/{what}", operator="Exists", effect="NoExecute", seconds=seconds)
        for what in ("not-ready", "unreachable")
    )


def node(name: str, *, control_plane: bool = False, zone: str = "", ip: str = "", **labels: str) -> Node:
    own = {"kubernetes.io/hostname": name} | ({CONTROL_PLANE_LABEL: ""} if control_plane else {}) | labels
    if zone:
        own["topology.kubernetes.io/zone"] = zone
    return Node(
        name=name,
        labels=own,
        taints=(CONTROL_PLANE_TAINT,) if control_plane else (),
        zone=f":\x00:{zone}" if zone else "",
        control_plane=control_plane,
        internal_ips=(ip,) if ip else (),
        allocatable=Resources(cpu_m=2000, memory_bytes=24 << 30),
    )


def dns_spec(toleration_s: int | None = 20, affinity: Affinity | None = None) -> PodSpec:
    """coredns as kubeadm writes it: anywhere, control-plane nodes too, rather not two on one node."""
    apart = PodTerm(
        topology_key="kubernetes.io/hostname",
        selector=LabelSelector(
            requirements=(Requirement(key="k8s-app", operator="In", values=("kube-dns",)),)
        ),
    )
    everywhere = (
        Toleration(key="CriticalAddonsOnly", operator="Exists"),
        Toleration(key=CONTROL_PLANE_LABEL, effect="NoSchedule"),
    )
    return PodSpec(
        labels={"k8s-app": "kube-dns", "pod-template-hash": "66bc5c9577"},
        tolerations=(*everywhere, *unreachable_for(toleration_s)),
        affinity=affinity or Affinity(avoided_pods=((100, apart),)),
        requests=Resources(cpu_m=100, memory_bytes=70 << 20),
        priority=2_000_000_000,
        containers=(Container(name="coredns", readiness=Probe()),),
    )


def off_control_plane() -> Affinity:
    """The mitigation dns-affinity: kube-dns only where there is no control-plane role."""
    apart = Requirement(key=CONTROL_PLANE_LABEL, operator="DoesNotExist")
    return Affinity(required_nodes=(NodeTerm(requirements=(apart,)),))


def app_spec(name: str, toleration_s: int | None = 20, sidecar: str = "holding") -> PodSpec:
    proxies = {
        "none": (),
        "holding": (Container(name="istio-proxy", post_start=True),),
        "classic": (Container(name="istio-proxy"),),
        "native": (Container(name="istio-proxy", init=True, native=True),),
    }
    return PodSpec(
        labels={"app": name},
        tolerations=unreachable_for(toleration_s),
        requests=Resources(cpu_m=20, memory_bytes=80 << 20),
        containers=(*proxies[sidecar], Container(name=name)),
    )


def spread_over(
    nodes: Sequence[str], count: int, owner: str, namespace: str, spec: PodSpec
) -> tuple[Pod, ...]:
    name = owner.partition("/")[2]
    return tuple(
        Pod(namespace=namespace, name=f"{name}-{at}", node=nodes[at % len(nodes)], spec=spec, owner=owner)
        for at in range(count)
    )


def daemons(nodes: Sequence[str]) -> tuple[Pod, ...]:
    spec = PodSpec(
        labels={"k8s-app": "calico-node"},
        tolerations=(Toleration(operator="Exists"),),
        host_network=True,
        priority=2_000_001_000,
    )
    return tuple(
        Pod(
            namespace="kube-system",
            name=f"calico-node-{name}",
            node=name,
            spec=spec,
            owner="DaemonSet/calico-node",
        )
        for name in nodes
    )


KUBE_DNS = Service(
    namespace="kube-system", name="kube-dns", selector={"k8s-app": "kube-dns"}, cluster_ips=("10.2.112.10",)
)
ISTIOD = Service(
    namespace="istio-system", name="istiod", selector={"app": "istiod"}, publishes_not_ready=True
)


def cluster(
    *,
    workers: int = 2,
    control_planes: int = 1,
    zones: Sequence[str] = (),
    network: Network = CALICO,
    control_plane: ControlPlane = ACCELERATED,
    affinity: Affinity | None = None,
    sidecar: str = "none",
    dns_replicas: int = 2,
    apps: int = 0,
) -> World:
    """Like the testbed: kube-dns on the first workers; with a sidecar there is istiod on worker-1 and a meshed shop."""
    toleration_s = int(control_plane.timings.toleration_s)
    masters = [node(f"cp-{at + 1}", control_plane=True) for at in range(control_planes)]
    servants = [
        node(f"worker-{at + 1}", zone=zones[at % len(zones)] if zones else "") for at in range(workers)
    ]
    names = [each.name for each in servants or masters]
    pods = spread_over(
        names, dns_replicas, "ReplicaSet/coredns-66bc5c9577", "kube-system", dns_spec(toleration_s, affinity)
    )
    pods += daemons([each.name for each in (*masters, *servants)])
    pods += spread_over(names, apps, "ReplicaSet/web-1", "web", app_spec("web", toleration_s, "none"))
    world = World(
        nodes=(*masters, *servants),
        pods=pods,
        workloads={
            ("kube-system", "ReplicaSet/coredns-66bc5c9577"): Workload(
                kind="ReplicaSet",
                namespace="kube-system",
                name="coredns-66bc5c9577",
                replicas=dns_replicas,
                owner="Deployment/coredns",
            )
        },
        dns=KUBE_DNS,
        network=network,
        control_plane=control_plane,
    )
    return world if sidecar == "none" else meshed(world, names, sidecar, toleration_s)


def meshed(world: World, names: Sequence[str], sidecar: str, toleration_s: int) -> World:
    istiod = PodSpec(labels={"app": "istiod"}, tolerations=unreachable_for(None))
    pods = spread_over(names[:1], 1, "ReplicaSet/istiod-1", "istio-system", istiod)
    for app in ("catalog", "storefront"):
        pods += spread_over(names, 4, f"ReplicaSet/{app}-1", "shop", app_spec(app, toleration_s, sidecar))
    return replace(world, pods=(*world.pods, *pods), mesh=Mesh(istiod=ISTIOD, injects=frozenset({"shop"})))


def workers_of(world: World) -> frozenset[str]:
    return frozenset(each.name for each in world.nodes if not each.control_plane)

"""Crowded clusters at random: highly available, nearly full, and with Pods of every kind that a cut sets in motion."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from worlds import (
    ACCELERATED,
    ISTIOD,
    KUBE_DNS,
    PRODUCTION,
    ROUTED,
    daemons,
    dns_spec,
    node,
    spread_over,
    unreachable_for,
)

from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.world import (
    HOSTNAME,
    Affinity,
    Container,
    LabelSelector,
    Mesh,
    Pod,
    PodSpec,
    PodTerm,
    Requirement,
    Resources,
    Spread,
    Toleration,
    World,
)

NODE_CPU_M = 2000
EVERYWHERE = (Toleration(operator="Exists", effect="NoSchedule"),)
AT_ONCE = tuple(
    Toleration(key=f"node.kubernetes.io/{what}", operator="Exists", effect="NoExecute", seconds=0)
    for what in ("not-ready", "unreachable")
)
"""With `EVERYWHERE`: may be put onto a lost node, and is evicted from it at once, again and again."""

tolerations = st.sampled_from(
    [
        *[unreachable_for(20)] * 6,
        *(unreachable_for(300), unreachable_for(None), (), EVERYWHERE, (*EVERYWHERE, *AT_ONCE)),
    ]
)
owners = st.sampled_from([*["ReplicaSet"] * 5, "StatefulSet", "Job", "DaemonSet", ""])
priorities = st.sampled_from([0, 0, 10, 1000, 2_000_000_000])


@st.composite
def specs(draw: st.DrawFn, name: str) -> PodSpec:
    """A template: any size, priority, toleration, company and sidecar."""
    own = LabelSelector(requirements=(Requirement(key="app", operator="In", values=(name,)),))
    apart = PodTerm(topology_key=HOSTNAME, selector=own)
    spread = Spread(max_skew=1, topology_key=HOSTNAME, required=True, selector=own)
    proxy = draw(st.sampled_from([(), (), (), (Container(name="istio-proxy", post_start=True),)]))
    return PodSpec(
        labels={"app": name},
        tolerations=draw(tolerations),
        affinity=draw(st.sampled_from([*[None] * 4, Affinity(forbidden_pods=(apart,))])),
        spreads=draw(st.sampled_from([*[()] * 4, (spread,)])),
        requests=Resources(cpu_m=draw(st.sampled_from([50, 400, 700, 1500])), memory_bytes=1 << 20),
        priority=draw(priorities),
        may_preempt=draw(st.booleans()),
        containers=(*proxy, Container(name=name)),
    )


@st.composite
def crowds(draw: st.DrawFn, most_apps: int = 8, most_replicas: int = 6) -> tuple[World, Plan]:
    """A world, and a cut of some or all of its workers."""
    masters = [node(f"cp-{at}", control_plane=True) for at in range(draw(st.integers(1, 3)))]
    zones = draw(st.sampled_from(["abc", ""]))
    workers = [
        node(f"worker-{at}", zone=zones[at % 3] if zones else "") for at in range(draw(st.integers(2, 7)))
    ]
    most_pods = draw(st.sampled_from([12, 30]))
    nodes = tuple(
        replace(each, max_pods=most_pods, allocatable=Resources(cpu_m=NODE_CPU_M, memory_bytes=8 << 30))
        for each in (*masters, *workers)
    )
    names = [each.name for each in workers]
    pods = spread_over(names, 2, "ReplicaSet/coredns-1", "kube-system", dns_spec(20))
    pods += daemons([each.name for each in nodes])
    istiod = PodSpec(labels={"app": "istiod"}, tolerations=draw(tolerations))
    pods += spread_over(names, 1, "ReplicaSet/istiod-1", "istio-system", istiod)
    for at in range(draw(st.integers(most_apps // 2, most_apps))):
        pods += _app(draw, f"app-{at}", names, most_replicas)
    world = World(
        nodes=nodes,
        pods=pods,
        dns=KUBE_DNS,
        network=ROUTED,
        control_plane=draw(st.sampled_from([ACCELERATED, PRODUCTION])),
        mesh=Mesh(
            istiod=replace(ISTIOD, publishes_not_ready=draw(st.booleans())), injects=frozenset({"shop"})
        ),
    )
    cut = draw(st.sampled_from([frozenset(names), None])) or draw(
        st.frozensets(st.sampled_from(names), min_size=1)
    )
    cut_for_s = draw(st.sampled_from([480.0, 90.0, 30.0]))
    return world, Plan(cut_nodes=cut, cut_for_s=cut_for_s, horizon_s=cut_for_s + 300)


def _app(draw: st.DrawFn, name: str, names: list[str], most_replicas: int) -> tuple[Pod, ...]:
    """Its Pods, in turn on the workers from a random one on; each has an owner of its own, or all have one."""
    spec, kind = draw(specs(name)), draw(owners)
    start = draw(st.integers(0, len(names) - 1))
    owner = f"{kind}/{name}" if kind else ""
    made = spread_over(
        [*names[start:], *names[:start]],
        draw(st.integers(most_replicas // 3, most_replicas)),
        owner or name,
        "shop",
        spec,
    )
    return tuple(replace(pod, name=f"{name}-{at}", owner=owner) for at, pod in enumerate(made))

"""DNS proxying of Istio's sidecars: where it answers, if it is on."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.roster import HERE_TO_STAY
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, sidecar
from chaosext.rehearsal.snapshot.node_patterns import behind, is_over

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import Pod, World


def meshed_nodes(world: World) -> frozenset[str]:
    """Return the nodes on which every workload's Pod that uses cluster DNS has a sidecar, and there is one.

    With DNS proxying it answers lookups of Services, and forwards all others to kube-dns (istio.io, "DNS Proxying").
    """
    dns = set(map(id, behind(world.dns, world.pods)))
    has_sidecar: dict[str, list[bool]] = defaultdict(list)
    for pod in world.pods:
        if id(pod) not in dns and not is_over(pod) and _asks_cluster_dns(pod):
            has_sidecar[pod.node].append(sidecar(pod.spec) is not SidecarKind.NONE)
    known = {node.name for node in world.nodes}
    return frozenset(name for name, answers in has_sidecar.items() if all(answers) and name in known)


def _asks_cluster_dns(pod: Pod) -> bool:
    is_workload = pod.owner.partition("/")[0] not in HERE_TO_STAY and not pod.spec.host_network
    return is_workload and pod.spec.dns_policy.startswith("ClusterFirst")

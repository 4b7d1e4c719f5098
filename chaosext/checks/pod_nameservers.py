"""Which nameserver Pods ask: what the kubelet of their node hands out (`clusterDNS`), such as a node-local cache.

kubelet's own configuration on the node says it best. Where it can't be read (a node entered through a Pod has
another file system), kubeadm's ConfigMap says what nodes were set up with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.checks.fan_out import ask_all
from chaosext.model.errors import Refused, Unreachable, understood
from chaosext.rehearsal.snapshot.dns_detection import KUBELET_CONFIG, handed_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.nodes.shell import NodeShell

NAMESPACE = "kube-system"
FILE = "/var/lib/kubelet/config.yaml"
"""kubelet's configuration file, as kubeadm and kind name it."""

LARGEST_BYTES = 1 << 16
SCRIPT = f"[ ! -r {FILE} ] || head -c {LARGEST_BYTES} {FILE}"
ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nameservers:
    """Node -> the addresses that its kubelet hands to Pods; () where that is unknown. `source`: by what, or ""."""

    of: Mapping[str, tuple[str, ...]]
    source: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, those of most nodes first."""
        counted: dict[str, int] = {}
        for address in (each for found in self.of.values() for each in found):
            counted[address] = counted.get(address, 0) + 1
        return tuple(sorted(counted, key=lambda address: -counted[address]))


def nameservers(cluster: Cluster, shells: Mapping[str, NodeShell], nodes: Sequence[str]) -> Nameservers:
    """Return what the kubelets of `nodes` hand out. Raises `Unreachable` if the API server gives no answer."""
    asked = ask_all({node: shells[node] for node in nodes if node in shells}, _of_node)
    own = {node: found for node, found in asked.items() if isinstance(found, tuple) and found}
    if len(own) == len(nodes):
        return Nameservers(of=own, source=f"kubelet's {FILE}")
    common = by_config_map(cluster)
    sources = [f"kubelet's {FILE}"] * bool(own) + [f"ConfigMap {NAMESPACE}/{KUBELET_CONFIG}"] * bool(common)
    return Nameservers(of={node: own.get(node, common) for node in nodes}, source=" and ".join(sources))


def by_config_map(cluster: Cluster) -> tuple[str, ...]:
    """Return kubeadm's `clusterDNS`; () if the cluster has no such ConfigMap, or doesn't show it."""
    try:
        found = cluster.get("configmaps", KUBELET_CONFIG, namespace=NAMESPACE)
    except Refused:
        return ()
    with understood(f"the API server of context {cluster.context}"):
        return handed_out({KUBELET_CONFIG: found.get("data") or {}})


def _of_node(shell: NodeShell) -> tuple[str, ...]:
    result = shell.run(SCRIPT, timeout_s=ASK_TIMEOUT_S)
    if result.exit_code:
        raise Unreachable(f"kubelet's configuration on {shell.node} can't be read")
    return handed_out({KUBELET_CONFIG: {"kubelet": result.stdout}})

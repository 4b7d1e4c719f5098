"""What is known before the run touches anything: timings, nodes without BGP, the duration of the cut.

The rehearsal predicts the effects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.cluster.timings import timings_from
from chaosext.model.errors import understood
from chaosext.model.result import Briefing
from chaosext.run.fault.cut_plan import chosen
from chaosext.run.fault.irrevocable import meaning
from chaosext.run.rollback.kube_dns import peered_names

if TYPE_CHECKING:
    from collections.abc import Collection

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.experiment.settings import Settings

CONTROL_PLANE_PODS = "component in (kube-controller-manager,kube-apiserver)"


def brief(cluster: Cluster, settings: Settings, ttl_s: float | None) -> Briefing:
    """Read from the API server what matters for a cut of `ttl_s` (None: no cut) of the nodes that lose it."""
    nodes = cluster.nodes()
    pods = cluster.pods("kube-system", KUBE_DNS_SELECTOR)
    dns_nodes = sorted({pod.node for pod in pods if pod.node and not pod.terminating})
    with understood(f"the API server of context {cluster.context}"):
        static = cluster.items("pods", namespace="kube-system", labelSelector=CONTROL_PLANE_PODS)
        timings = timings_from(static)
    lost = chosen(nodes, settings.cut_nodes)
    lasting = meaning(lost, ttl_s) if settings.is_sealed and ttl_s is not None else ()
    return Briefing(
        context=cluster.context,
        timings=timings.to_json(),
        outlook=(*_ttl_lines(ttl_s), *lasting),
        unpeered_nodes=unpeered(nodes, peered_names(cluster)),
        kube_dns_nodes=tuple(dns_nodes),
    )


def unpeered(nodes: Collection[Node], peered: Collection[str]) -> tuple[str, ...]:
    """The nodes that no other node learns routes to."""
    return tuple(sorted(node.name for node in nodes if node.name not in peered))


def _ttl_lines(ttl_s: float | None) -> tuple[str, ...]:
    return () if ttl_s is None else (f"the cut lasts at most {ttl_s:g} s",)

"""nodes_reach_pods: which node reaches the Pods of which other node?

Measured, whatever the network: each node connects by TCP to Pods on other nodes. An open port, a refusal and a reset
all come from the Pod's address, so packets find the way there and back; silence and "no route" mean that they don't.
No route is assumed, and none is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from time import sleep
from typing import TYPE_CHECKING

from chaosext.checks.check_names import PODS
from chaosext.checks.tcp_reachability import Connect, Reach, Target, gather_pairs
from chaosext.model.findings import Evidence, Finding, Status, not_applicable, worst
from chaosext.sentinel.watch_plan import MOST_OTHERS, ring

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Pod
    from chaosext.nodes.shell import NodeShell

PODS_EACH = 2
"""Pods of a node to connect to: one may be deleted at that moment, or a NetworkPolicy may keep nodes away from it."""

ANY_PORT = 80
"""Port for a Pod that declares none: a refusal is an answer, too."""

LOOKS, PAUSE_S = 2, 1.0
"""Number of attempts, and seconds between them, before a node counts as not reached: Pods come and go."""

ARRIVES = (Reach.OPEN, Reach.REFUSED, Reach.RESET)
"""Results that come from the Pod's address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachEvidence:
    """Every connect by (node, other node).

    `nodes`: all nodes. `judged`: the nodes whose connects decide. `unpeered`: nodes whose Pods no other node can
    reach, by configuration. `targets`: node -> its Pods to connect to.
    """

    nodes: tuple[str, ...]
    judged: tuple[str, ...]
    unpeered: frozenset[str]
    targets: Mapping[str, tuple[Target, ...]]
    connects: Mapping[tuple[str, str], tuple[Connect, ...]]


def gather(
    cluster: Cluster, shells: Mapping[str, NodeShell], *, peered: Collection[str] | None = None
) -> ReachEvidence:
    """Connect from each node with a shell to Pods on up to `MOST_OTHERS` other nodes.

    Workers decide; control-plane nodes connect too, and are reported. With fewer than two workers, all nodes decide.
    `peered`: the nodes whose Pods others are meant to reach; None: all.
    """
    evidence = _look(cluster, shells, peered)
    for _ in range(LOOKS - 1):
        if all(map(_is_reached, evidence.connects.values())):
            break
        sleep(PAUSE_S)
        evidence = _look(cluster, shells, peered)
    return evidence


def _look(cluster: Cluster, shells: Mapping[str, NodeShell], peered: Collection[str] | None) -> ReachEvidence:
    nodes = cluster.nodes()
    names = tuple(node.name for node in nodes)
    workers = tuple(node.name for node in nodes if not node.is_control_plane)
    targets = targets_of(cluster.pods())
    others = {name: tuple(ring(name, targets, MOST_OTHERS)) for name in names}
    wanted = {
        name: tuple(target for other in found for target in targets[other]) for name, found in others.items()
    }
    connects = iter(gather_pairs(shells, wanted).connects)
    return ReachEvidence(
        nodes=names,
        judged=workers if len(workers) > 1 else names,
        unpeered=frozenset() if peered is None else frozenset(names) - frozenset(peered),
        targets=targets,
        connects={
            (name, other): tuple(islice(connects, len(targets[other])))
            for name, found in others.items()
            for other in found
        },
    )


def targets_of(pods: Iterable[Pod]) -> dict[str, tuple[Target, ...]]:
    """Return node -> up to `PODS_EACH` of its running Pods with an address of the Pod network, the Ready ones first."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        if can_answer(pod):
            found.setdefault(pod.node, []).append(pod)
    return {
        node: tuple(map(target_of, sorted(each, key=_preference)[:PODS_EACH]))
        for node, each in sorted(found.items())
    }


def can_answer(pod: Pod) -> bool:
    """Whether the Pod's address is one of the Pod network, and something runs there."""
    lives = pod.phase == "Running" and not pod.terminating
    return lives and not pod.host_network and bool(pod.node and pod.ips)


def target_of(pod: Pod) -> Target:
    return Target(pod.ips[0], next(iter(pod.tcp_ports), ANY_PORT))


def _preference(pod: Pod) -> tuple[object, ...]:
    return not pod.ready, not pod.tcp_ports, pod.namespace != "kube-system", pod.namespace, pod.name


def judge(evidence: ReachEvidence) -> Finding:
    """Judge: healthy if every judged node reaches a Pod on each other node that it connected to.

    Nodes without a Pod to connect to are listed, and don't count. Nor do nodes whose Pods no other node can reach by
    configuration: what depends on them is judged by other checks.
    """
    if len(evidence.nodes) < 2:
        return not_applicable(PODS, "the cluster has a single node")
    rows = tuple(_pair(*pair, connects, evidence) for pair, connects in evidence.connects.items())
    counted = [row for row in rows if row.counts]
    extra = tuple(_without(node) for node in evidence.nodes if node not in evidence.targets)
    if not counted:
        why = "no node has a Pod that another one could connect to"
        row = Evidence(subject=PODS, status=Status.UNKNOWN, detail=why)
        return Finding(check=PODS, status=Status.UNKNOWN, summary=why, evidence=(row, *rows, *extra))
    status = worst(row.status for row in counted)
    return Finding(check=PODS, status=status, summary=_summary(counted, evidence), evidence=(*rows, *extra))


def _pair(node: str, other: str, connects: Sequence[Connect], evidence: ReachEvidence) -> Evidence:
    status = _status(connects)
    said = ", ".join(f"{each.target} {each.reach}" for each in connects)
    by_design = other in evidence.unpeered and status is Status.UNHEALTHY
    why = next((each.detail for each in connects if each.reach is Reach.UNKNOWN and each.detail), "")
    notes = [
        note for note in (said, why, "it has no BGP peer, by configuration" if by_design else "") if note
    ]
    return Evidence(
        subject=f"Node/{node} → Pods on Node/{other}",
        status=status,
        detail=": ".join(notes),
        counts=node in evidence.judged and not by_design,
    )


def _is_reached(connects: Sequence[Connect]) -> bool:
    return any(each.reach in ARRIVES for each in connects)


def _status(connects: Sequence[Connect]) -> Status:
    if _is_reached(connects):
        return Status.HEALTHY
    measured = any(each.reach is not Reach.UNKNOWN for each in connects)
    return Status.UNHEALTHY if measured else Status.UNKNOWN


def _without(node: str) -> Evidence:
    detail = "no running Pod of the Pod network to connect to"
    return Evidence(subject=f"Pods on Node/{node}", status=Status.UNKNOWN, detail=detail, counts=False)


def _summary(rows: Sequence[Evidence], evidence: ReachEvidence) -> str:
    good = sum(row.status is Status.HEALTHY for row in rows)
    bad = [row for row in rows if row.status is not Status.HEALTHY]
    counted = f"{good} of {len(rows)} ways from node to node's Pods work{_left_out(evidence)}"
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{counted}; {bad[0].subject}: {bad[0].detail}{more}" if bad else counted


def _left_out(evidence: ReachEvidence) -> str:
    others = len(evidence.targets) - 1
    return f" (each node tried {MOST_OTHERS} of {others} others)" if others > MOST_OTHERS else ""

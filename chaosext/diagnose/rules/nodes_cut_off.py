"""Kubelets do not reach an API server: the control plane then takes their nodes for lost, whatever runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.checks.tcp_reachability import Reach
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.diagnose.knowledge import Patient
    from chaosext.diagnose.symptoms import Symptom


def find(patient: Patient) -> Iterator[Cause]:
    """Tell apart what the nodes themselves show: packets dropped, nothing listening, or an API server that answers."""
    sight = patient.sight
    silent = [each for each in patient.of(SymptomKind.NODE) if each.node in sight.lost]
    cannot = [each for each in patient.of(SymptomKind.API) if each.node and each.subject.startswith("Node/")]
    nodes = sorted({each.node for each in (*silent, *cannot)})
    if not nodes:
        return
    dropped = [name for name in nodes if _api(patient, name) in (Reach.TIMED_OUT, Reach.NO_ROUTE)]
    refused = [name for name in nodes if _api(patient, name) in (Reach.REFUSED, Reach.RESET)]
    answers = [name for name in nodes if _api(patient, name) == Reach.OPEN]
    if dropped:
        yield _cause(patient, dropped, silent, "the network drops what they send to the API server")
    if refused:
        yield _cause(
            patient, refused, silent, "nothing listens at the API server's address that their kubelets use"
        )
    if answers:
        yield _cause(
            patient, answers, silent, "the API server answers there, so kubelet itself does not work"
        )
    unasked = sorted(set(nodes) - {*dropped, *refused, *answers})
    if unasked:
        why = "the network, kubelet or the node itself: which one is unknown without access to the nodes"
        yield _cause(patient, unasked, silent, why)


def _api(patient: Patient, node: str) -> str:
    seen = patient.sight.nodes_seen.get(node)
    return seen.api if seen else ""


def _cause(patient: Patient, nodes: list[str], silent: Sequence[Symptom], why: str) -> Cause:
    sight = patient.sight
    own = [each for each in (*silent, *patient.of(SymptomKind.API)) if each.node in nodes]
    others = [
        each
        for name, seen in sight.nodes_seen.items()
        for each in (f"{name}: {other}" for other in seen.others)
    ]
    what = "does" if len(nodes) == 1 else "do"
    return Cause(
        subject=f"Node/{nodes[0]}" if len(nodes) == 1 else f"{len(nodes)} nodes",
        said=f"{names(nodes)} {what} not reach the control plane: {why}",
        grounds=keys(own),
        explains=keys(_follows(patient, nodes)),
        since=min((each.since for each in silent if each.node in nodes and each.since), default=None),
        evidence=(*_seen(patient, nodes), *others),
        fixes=tuple(_fixes(patient, nodes, others)),
    )


def _seen(patient: Patient, nodes: Sequence[str]) -> Iterator[str]:
    for name in nodes[:3]:
        seen = patient.sight.nodes_seen.get(name)
        if seen and seen.api:
            yield f"{name} → {seen.api_server}: {seen.api}"
    for each in patient.of(SymptomKind.NODE)[:3]:
        if each.node in nodes:
            yield f"{each.subject}: {each.said}"


def _follows(patient: Patient, nodes: Sequence[str]) -> Iterator[Symptom]:
    """Yield what follows from nodes that do not report: their Pods count as not Ready, Services lose them."""
    there = {pod.subject for pod in patient.sight.pods if pod.node in nodes or not pod.node}
    for each in patient.symptoms:
        is_lost = Trouble.LOST_NODE in each.troubles and each.troubles <= {Trouble.LOST_NODE, Trouble.PENDING}
        is_there = each.kind in (SymptomKind.NAT, SymptomKind.BGP, SymptomKind.NODE) and each.node in nodes
        is_across = each.kind is SymptomKind.ROUTE and (
            each.node in nodes or each.subject.partition(" → ")[0].removeprefix("Node/") in nodes
        )
        is_sidecar = each.kind is SymptomKind.XDS and there.issuperset(each.pods)
        is_ours = each.kind is SymptomKind.API and not each.node
        waits = each.troubles == {Trouble.PENDING} and there.issuperset(each.pods)
        if is_lost or is_there or is_across or is_sidecar or is_ours or waits:
            yield each


def _fixes(patient: Patient, nodes: Sequence[str], others: Sequence[str]) -> Iterator[FixCommand]:
    server = next((seen.api_server for seen in patient.sight.nodes_seen.values() if seen.api_server), "")
    where = f" to {server}" if server else " to the API server"
    yield FixCommand(
        what=f"restore the path of {names(list(nodes), at_most=3)}{where}"
        + (f"; begin with {others[0]}" if others else ""),
        risk="none: kubelets report again within seconds; do not restart or drain the nodes, their Pods still run",
    )
    yield FixCommand(
        what="when it is back, see where kube-dns ended up before calling it over",
        command="chaosext diagnose",
        risk="none, read-only",
    )


RULE = DiagnosisRule(
    name="nodes_cut_off",
    title="Nodes do not reach the control plane",
    source="Kubernetes documentation, Nodes (heartbeats); pkg/controller/nodelifecycle",
    find=find,
    seen=EvidenceKind.SEEN,
)

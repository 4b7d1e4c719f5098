"""kube-dns runs where no other node reaches it: Ready, in the Service's endpoints, and dead for everybody else.

The incident behind chaosext: kube-dns was evicted from nodes that were cut off, and re-created on a control-plane
node, whose Pods no BGP session announces. It does not heal with the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.checks.check_names import DNS
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, Unsettled, keys
from chaosext.diagnose.symptoms import Symptom, SymptomKind, Trouble, dns_row
from chaosext.model.findings import Status
from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.report.units import listed
from chaosext.report.units import names as listed_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chaosext.cluster.objects import CoreV1Event, Endpoint
    from chaosext.diagnose.knowledge import Patient
    from chaosext.diagnose.symptoms import Symptom

SUFFERING = (Trouble.SIDECAR, Trouble.PROBE, Trouble.CRASH, Trouble.UNREADY)
"""Troubles of a Pod with a sidecar that a dead DNS leads to: no istiod, so no readiness, so no other container."""


def find(patient: Patient) -> Iterator[Cause | Unsettled]:
    """Compare the nodes of kube-dns' endpoints with the nodes whose Pods are reached."""
    sight = patient.sight
    if sight.dns is None:
        return
    serving = [each for each in sight.endpoints.get(sight.dns, ()) if each.ready and not each.terminating]
    hosts = {each.node for each in serving if each.node}
    if not hosts or hosts & sight.cut_nodes.keys() or not sight.nodes:
        return
    unreached = {node for node in hosts if _is_unreached(patient, node, serving)}
    if unreached:
        yield _cause(patient, sorted(unreached), serving)
        return
    doubtful = sorted(
        node for node in hosts if sight.announces(node) is None and not _answers(patient, node, serving)
    )
    if doubtful:
        yield Unsettled(
            what=f"whether other nodes reach kube-dns on {listed(doubtful)}",
            why="which node reaches whose Pods is not proven by what was seen; DNS lookups from nodes would settle it",
        )


def _is_unreached(patient: Patient, node: str, serving: list[Endpoint]) -> bool:
    """Whether no other node reaches Pods there: no route by configuration, and no lookup from elsewhere that succeeds.

    A node whose BGP session is down, or which does not report, is another rule's.
    """
    elsewhere = _lookups(patient, node, serving)
    if Status.HEALTHY in elsewhere or node in patient.sight.lost:
        return False
    if patient.sight.announces(node) is False:
        return True
    is_measured = len(elsewhere) > 0 and set(elsewhere) == {Status.UNHEALTHY}
    return (
        is_measured
        and not patient.of(SymptomKind.BGP, SymptomKind.ROUTE)
        and _own_answers(patient, node, serving)
    )


def _lookups(patient: Patient, node: str, serving: list[Endpoint]) -> list[Status]:
    """Return how lookups at the endpoints on this node went, from all other nodes."""
    there = {each.ip for each in serving if each.node == node}
    rows = ((dns_row(row.subject), row) for row in patient.sight.rows(DNS))
    return [
        row.status
        for (client, address), row in rows
        if address in there and client != node and row.status is not Status.UNKNOWN
    ]


def _own_answers(patient: Patient, node: str, serving: list[Endpoint]) -> bool:
    """Whether the endpoints on this node answer the node itself, so that only the way to them is broken."""
    there = {each.ip for each in serving if each.node == node}
    rows = ((dns_row(row.subject), row) for row in patient.sight.rows(DNS))
    return any(
        client == node and address in there and row.status is Status.HEALTHY
        for (client, address), row in rows
    )


def _answers(patient: Patient, node: str, serving: list[Endpoint]) -> bool:
    return Status.HEALTHY in _lookups(patient, node, serving)


def _cause(patient: Patient, unreached: list[str], serving: list[Endpoint]) -> Cause:
    sight = patient.sight
    here = [each for each in serving if each.node in unreached]
    everything = len(here) == len(serving)
    pods = {pod.subject: pod for pod in sight.dns_pods}
    since = max(
        (pod.ready_since for each in here if (pod := pods.get(each.pod)) and pod.ready_since), default=None
    )
    dns = patient.of(SymptomKind.DNS, SymptomKind.DNS_ENDPOINT)
    stuck = (*patient.of(SymptomKind.XDS), *_suffering(patient))
    without = [node for node in unreached if sight.announces(node) is False]
    what = "all" if everything else f"{len(here)} of {len(serving)}"
    why = (
        "which announces its Pods to no other node" if without == unreached else "which no other node reaches"
    )
    return Cause(
        subject="Service/" + "/".join(sight.dns or ()),
        said=f"kube-dns ({what} Pods) runs on {listed(unreached)}, {why}",
        grounds=keys(dns) or frozenset({f"dns endpoint: {each.pod}" for each in here}),
        explains=keys((*dns, *stuck, *patient.of(SymptomKind.NOT_CREATED))) if everything else keys(dns),
        since=since,
        evidence=tuple(_evidence(patient, unreached, here)),
        fixes=tuple(_fixes(patient, unreached)),
        history=tuple(_history(patient)),
    )


def _suffering(patient: Patient) -> Iterator[Symptom]:
    """Yield workloads and Services all of whose troubled Pods have a sidecar."""
    injected = {pod.subject for pod in patient.sight.pods if pod.injected}
    for each in patient.troubled(*SUFFERING):
        if each.pods and injected.issuperset(each.pods):
            yield each


def _evidence(patient: Patient, unreached: list[str], here: list[Endpoint]) -> Iterator[str]:
    sight = patient.sight
    bad = [row for row in sight.rows(DNS, Status.UNHEALTHY) if row.counts and dns_row(row.subject)[0]]
    good = [row for row in sight.rows(DNS, Status.HEALTHY) if dns_row(row.subject)[0] in unreached]
    if bad:
        yield f"{bad[0].subject}: {bad[0].detail}" + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else "")
    if good and bad:
        yield f"{good[0].subject}: {good[0].detail}, so kube-dns itself works"
    for each in here:
        name = each.pod.rpartition("/")[2] or each.ip
        yield f"{name} ({each.ip}) is Ready on {each.node}, and in the Service's endpoints"
    for node in unreached:
        if sight.announces(node) is False:
            yield f"{node} has no session that announces its Pods, by the network's own configuration"


def _fixes(patient: Patient, unreached: list[str]) -> Iterator[FixCommand]:
    sight, kubectl = patient.sight, patient.kubectl
    namespace = sight.dns[0] if sight.dns else "kube-system"
    able = [
        node.name
        for node in sight.nodes
        if node.name not in unreached
        and node.ready == "True"
        and not node.unschedulable
        and node.name not in sight.lost
        and sight.announces(node.name) is not False
    ]
    if not able:
        yield FixCommand(what="first bring back a node that others reach: kube-dns has no other place to run")
        return
    cordoned = {node.name for node in sight.nodes if node.unschedulable}
    names = " ".join(node for node in unreached if node not in cordoned)
    delete = f"{kubectl} -n {namespace} delete pod -l {sight.dns_selector}"
    yield FixCommand(
        what=f"move kube-dns to nodes that others reach ({listed_names(able, 2)})",
        command=f"{kubectl} cordon {names}\n{delete}\n{kubectl} uncordon {names}" if names else delete,
        risk="nothing is scheduled on "
        f"{listed(unreached)} meanwhile; DNS is dead already, and is back in about 10 s",
    )


def _history(patient: Patient) -> Iterator[tuple[datetime | None, str]]:
    """Yield how kube-dns came there, as far as Events remember."""
    sight = patient.sight
    lost = _about_nodes(patient, "NodeNotReady")
    if lost:
        names = sorted({each.involved.removeprefix("Node/") for each in lost})
        yield lost[0].first_seen or lost[0].last_seen, f"{listed(names)} did not report (NodeNotReady)"
    dns = {f"Pod/{namespace}/" for namespace in [sight.dns[0] if sight.dns else ""]}
    evicted = [
        each
        for each in sight.recent("TaintManagerEviction", within_s=3600.0)
        if each.involved.startswith(tuple(dns)) and "dns" in each.involved and "Cancel" not in each.message
    ]
    if evicted:
        yield (
            evicted[0].first_seen or evicted[0].last_seen,
            f"{len(evicted)} kube-dns Pods evicted from there",
        )
    created = [pod.created for pod in sight.dns_pods if pod.created]
    if created and lost:
        yield min(created), "kube-dns re-created on the nodes that still reported"
    back = _about_nodes(patient, "NodeReady")
    if back and lost:
        yield back[-1].last_seen, "the nodes report again: they learn kube-dns' new addresses"


def _about_nodes(patient: Patient, reason: str) -> list[CoreV1Event]:
    """Return the Events about nodes; the controller sends those of the same reason about Pods, too."""
    found = patient.sight.recent(reason, within_s=3600.0)
    return [each for each in found if each.involved.startswith("Node/")]


RULE = DiagnosisRule(
    name="kube_dns_unreachable",
    title="kube-dns runs where no other node reaches it",
    source="the incident (docs/incident.md); Calico's reference, BGP peer",
    find=find,
    seen=EvidenceKind.SEEN,
)

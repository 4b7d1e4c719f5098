"""BGP sessions are down: with the leaf, with route reflectors, or none is configured any more.

calico-node stays Ready with zero sessions, so that nothing else shows it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaosext.cluster.bgp_peers import expected_peers
from chaosext.cluster.selector import matches
from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.report.units import listed, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.cluster.objects import BgpPeer
    from chaosext.diagnose.knowledge import Patient
    from chaosext.diagnose.symptoms import Symptom


def find(patient: Patient) -> Iterator[Cause]:
    """Group the sessions that are down by what they have in common: the peer, or the node."""
    unselected = list(_without_peers(patient))
    yield from unselected
    down = patient.of(SymptomKind.BGP)
    if unselected or not down:
        return
    by_peer: dict[str, list[Symptom]] = defaultdict(list)
    for each in down:
        by_peer[each.subject.partition(" → ")[2].rpartition(":")[0] or "the leaf"].append(each)
    nodes = sorted({each.node for each in down if each.node})
    reflectors = {ip: node.name for node in patient.sight.nodes for ip in node.internal_ips}
    of_nodes = sorted({reflectors[peer] for peer in by_peer if peer in reflectors})
    if of_nodes:
        what = f"{len(down)} BGP sessions with {names(of_nodes)} (nodes of the cluster) are down"
    elif len(nodes) == 1 and len(_speakers(patient)) > 1:
        what = f"{nodes[0]} has lost its BGP sessions with {listed(sorted(by_peer))}"
    else:
        what = f"BGP sessions of {len(nodes)} nodes with {listed(sorted(by_peer))} are down"
    yield Cause(
        subject=f"Node/{nodes[0]}" if len(nodes) == 1 else "BGP",
        said=f"{what}: routes to their Pods are withdrawn",
        grounds=keys(down),
        explains=keys(_follows(patient, nodes)),
        evidence=tuple(f"{each.subject}: {each.said}" for each in down[:4]),
        fixes=tuple(_fixes(patient, nodes, sorted(by_peer))),
    )


def _speakers(patient: Patient) -> list[str]:
    sight = patient.sight
    return [node.name for node in sight.nodes if expected_peers(node, sight.nodes, sight.peers, sight.mesh)]


def _follows(patient: Patient, nodes: Sequence[str]) -> Iterator[Symptom]:
    """Yield what unreachable Pods lead to: DNS, sidecars that miss istiod, webhooks that don't answer."""
    yield from patient.of(SymptomKind.DNS, SymptomKind.DNS_ENDPOINT, SymptomKind.XDS, SymptomKind.NOT_CREATED)
    yield from patient.of(SymptomKind.ROUTE)
    yield from patient.troubled(Trouble.SIDECAR, Trouble.PROBE)


def _fixes(patient: Patient, nodes: Sequence[str], peers: Sequence[str]) -> Iterator[FixCommand]:
    yield FixCommand(
        what=f"on {listed(peers)}: see why the sessions are down (`show bgp summary`), and bring them back",
        risk="the fabric's own",
    )
    if len(nodes) == 1:
        yield FixCommand(
            what=f"or restart calico-node on {nodes[0]}, if its peer is fine",
            command=f"{patient.kubectl} -n kube-system delete pod -l k8s-app=calico-node "
            f"--field-selector spec.nodeName={nodes[0]}",
            risk="graceful restart keeps its routes for up to 120 s",
        )


def _without_peers(patient: Patient) -> Iterator[Cause]:
    """Name BGPPeers whose selectors match no node: a label was removed, and with it every session."""
    sight = patient.sight
    if sight.mesh or not sight.nodes or not sight.knows("BGPPeer"):
        return
    for peer in sight.peers:
        field = _unmatched(peer, patient)
        if field and not any(each.name != peer.name for each in sight.peers):
            selector = peer.peer_selector if field == "peerSelector" else peer.node_selector
            yield Cause(
                subject=f"BGPPeer/{peer.name}",
                said=f"BGPPeer {peer.name} selects no node ({field} {selector}), and the mesh is off: no BGP session",
                grounds=keys(patient.of(SymptomKind.BGP)) or frozenset({f"bgp session: {peer.name}"}),
                explains=keys(_follows(patient, ())),
                evidence=(f"no node's labels match {selector}", "nodeToNodeMeshEnabled is false"),
                fixes=(
                    FixCommand(
                        what="give the nodes that it means their label back",
                        command=f"{patient.kubectl} label node NODE {_label(selector)}",
                        risk="none; sessions come up within about 20 s",
                    ),
                ),
            )


def _unmatched(peer: BgpPeer, patient: Patient) -> str:
    nodes = patient.sight.nodes
    if peer.peer_selector and not any(matches(peer.peer_selector, node.labels) for node in nodes):
        return "peerSelector"
    if peer.node_selector and not any(matches(peer.node_selector, node.labels) for node in nodes):
        return "nodeSelector"
    return ""


def _label(selector: str) -> str:
    """Return the label that a simple selector asks for, as `kubectl label` takes it."""
    text = selector.strip()
    if text.startswith("has(") and text.endswith(")"):
        return f"{text[4:-1]}="
    return text.replace(" ", "").replace("==", "=").replace("'", "").replace('"', "")


RULE = DiagnosisRule(
    name="bgp_sessions_down",
    title="BGP sessions are down",
    source="Calico's reference, BGP peer; projectcalico/calico #9259",
    find=find,
)

"""What is seen of a cluster, each part known or unknown with the reason: the input of all rules. Pure.

It is read from one text, a Kubernetes List, whether that was collected just now or recorded before.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chaosext.checks.check_names import BGP, DNS, PODS, XDS
from chaosext.checks.nodes_ready import KubeletsEvidence, judge_kubelets
from chaosext.cluster import objects
from chaosext.cluster.bgp_peers import expected_peers
from chaosext.cluster.client import NODE_LEASES, SERVICE_LABEL
from chaosext.cluster.objects import BgpPeer, CoreV1Event, Endpoint, Node, NodeLease, Pod, Service, parse_time
from chaosext.diagnose.node_sight import NodeSight
from chaosext.model.errors import MALFORMED, Refused
from chaosext.model.findings import Evidence, Finding, Status
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.snapshot.reader import world_of
from chaosext.rehearsal.snapshot.snapshot_files import HOW_TO, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.rehearsal.network.routes import Routes
    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

KINDS = (
    "Node",
    "Pod",
    "Service",
    "EndpointSlice",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Event",
    "Lease",
)
"""Kinds without which a cluster can't be called healthy."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

MEASURED = {
    DNS: "DNS lookups from nodes",
    BGP: "BGP sessions",
    XDS: "sidecars' xDS state",
    PODS: "who reaches whose Pods",
}
"""The checks that only a live cluster answers -> what they measure."""

LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
"""Annotation of an EndpointSlice: when the Pod or Service changed that it follows (pkg/controller/endpointslice)."""


@dataclass(frozen=True, kw_only=True)
class ClusterSight:
    """What is seen of a cluster at the time `now`, by the API server's clock.

    `api`: why the API server gave no answer, `""` if it did. `findings`: checks that were run. `nodes_seen`: node ->
    what it shows itself; `blind`: node -> why it could not be asked. `context`: of the kubeconfig, for commands.
    """

    listed: Listed
    now: datetime
    api: str = ""
    context: str = ""
    findings: Mapping[str, Finding] = field(default_factory=dict)
    nodes_seen: Mapping[str, NodeSight] = field(default_factory=dict)
    blind: Mapping[str, str] = field(default_factory=dict)

    # -- what is known ---------------------------------------------------------------------------------------------

    def knows(self, kind: str) -> bool:
        """Whether all objects of the kind were seen, even if there are none."""
        return self.listed.has(kind) and kind not in self.listed.missed

    @cached_property
    def gaps(self) -> tuple[str, ...]:
        """What was not seen, and why; with any of these a cluster can't be called healthy."""
        return tuple(self._gaps())

    def _gaps(self) -> Iterator[str]:
        if self.api:
            yield f"the API server: {self.api}"
        missing = [kind for kind in KINDS if not self.knows(kind)]
        if missing and not self.api:
            why = {self.listed.missed.get(kind, "not in the snapshot") for kind in missing}
            yield f"{', '.join(missing)}: {'; '.join(sorted(why))}"
        unseen = [kind for kind in WORKLOADS if len(self.with_status(kind)) < len(self.items(kind))]
        if unseen:
            yield f"the status of {', '.join(f'{kind}s' for kind in unseen)}: not in the snapshot"
        for name, what in MEASURED.items():
            if why_not := self._unmeasured(name):
                yield f"{what}: {why_not}"
        names = [node.name for node in self.nodes] or sorted(self.blind)
        dark = [name for name in names if name not in self.nodes_seen]
        if dark:
            why = {self.blind.get(name, "no access to nodes") for name in dark}
            yield f"{len(dark)} of {len(names)} nodes from inside: {'; '.join(sorted(why))}"
        cuts = [name for name, seen in self.nodes_seen.items() if seen.cuts is None]
        if cuts:
            yield f"cuts of chaosext on {', '.join(cuts)}: nft's rules were not read"

    def _unmeasured(self, check: str) -> str:
        """Why a measurement is missing; "" if it is there, or if this cluster has nothing to measure."""
        if check == XDS and self.knows("Pod") and not any(pod.injected for pod in self.pods):
            return ""
        if check == BGP and self._is_without_bgp:
            return ""
        found = self.findings.get(check)
        if found is None:
            return "not measured"
        unknown = next((row.detail for row in self.rows(check, Status.UNKNOWN) if row.counts), "")
        return unknown or (found.summary if found.status is Status.UNKNOWN else "")

    @cached_property
    def _is_without_bgp(self) -> bool:
        """Whether it is proven that routes to Pods do not come by BGP."""
        routes = self.routes
        if self.world is None or routes is None or not routes.proof.holds:
            return False
        return not self.world.network.bgp_enabled or not any(
            expected_peers(node, self.nodes, self.peers, self.mesh) for node in self.nodes
        )

    def rows(self, check: str, status: Status | None = None) -> tuple[Evidence, ...]:
        """Return the evidence of a check, of one status only if it is given."""
        found = self.findings.get(check)
        rows = found.evidence if found else ()
        return tuple(row for row in rows if status is None or row.status is status)

    # -- objects ---------------------------------------------------------------------------------------------------

    def items(self, kind: str) -> list[Mapping[str, Any]]:
        return [plain(raw) for _, raw in self.listed.items.get(kind, ())]

    def with_status(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the workloads whose status was seen: a snapshot for rehearsals has none."""
        return [each for each in self.items(kind) if "observedGeneration" in (each.get("status") or {})]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node.from_json(each) for each in self.items("Node"))

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(Pod.from_json(each) for each in self.items("Pod"))

    @cached_property
    def raw_pods(self) -> Mapping[str, Mapping[str, Any]]:
        """Subject -> the Pod as the API serves it."""
        return {Pod.from_json(each).subject: each for each in self.items("Pod")}

    @cached_property
    def events(self) -> tuple[CoreV1Event, ...]:
        """Events, the oldest first."""
        found = (CoreV1Event.from_json(each) for each in self.items("Event"))
        return tuple(sorted(found, key=lambda each: each.last_seen or datetime.min.replace(tzinfo=UTC)))

    def recent(self, *reasons: str, within_s: float = 300.0) -> tuple[CoreV1Event, ...]:
        """Return the Events of these reasons that were seen within the last seconds, the oldest first."""
        since = self.now - timedelta(seconds=within_s)
        return tuple(
            each
            for each in self.events
            if each.reason in reasons and each.last_seen and each.last_seen >= since
        )

    @cached_property
    def services(self) -> tuple[Service, ...]:
        return tuple(Service.from_json(each) for each in self.items("Service"))

    @cached_property
    def leases(self) -> Mapping[str, NodeLease]:
        """Node -> the Lease of its kubelet."""
        found = (each for each in self.items("Lease") if each["metadata"].get("namespace", "") == NODE_LEASES)
        return {lease.name: lease for lease in map(NodeLease.from_json, found)}

    @cached_property
    def endpoints(self) -> Mapping[tuple[str, str], tuple[Endpoint, ...]]:
        """(namespace, Service) -> its addresses, ready or not."""
        slices: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for each in self.items("EndpointSlice"):
            meta = each["metadata"]
            slices[meta.get("namespace", ""), (meta.get("labels") or {}).get(SERVICE_LABEL, "")].append(each)
        return {key: objects.endpoints(found) for key, found in slices.items()}

    def changed(self, namespace: str, service: str) -> datetime | None:
        """When the addresses of a Service last changed, if its EndpointSlices say so."""
        times = (
            parse_time((each["metadata"].get("annotations") or {}).get(LAST_CHANGE))
            for each in self.items("EndpointSlice")
            if each["metadata"].get("namespace", "") == namespace
            and (each["metadata"].get("labels") or {}).get(SERVICE_LABEL) == service
        )
        return max((time for time in times if time), default=None)

    # -- nodes -----------------------------------------------------------------------------------------------------

    @cached_property
    def lost(self) -> frozenset[str]:
        """The nodes whose kubelets do not report: Ready is Unknown, or the Lease has run out."""
        silent = {
            row.subject.removeprefix("Node/") for row in self.kubelets if row.status is Status.UNHEALTHY
        }
        return frozenset(silent | {node.name for node in self.nodes if node.ready == "Unknown"})

    @cached_property
    def kubelets(self) -> tuple[Evidence, ...]:
        """Whether each kubelet has renewed its Lease in time."""
        if not self.nodes or not self.knows("Lease"):
            return ()
        return judge_kubelets(KubeletsEvidence(nodes=self.nodes, leases=self.leases, now=self.now)).evidence

    @cached_property
    def cut_nodes(self) -> Mapping[str, NodeSight]:
        """The nodes that carry a live cut of chaosext."""
        return {name: seen for name, seen in self.nodes_seen.items() if seen.cuts}

    # -- the network -----------------------------------------------------------------------------------------------

    @cached_property
    def world(self) -> World | None:
        """The rehearsal's model of the cluster; None if too little was seen for one."""
        try:
            return world_of(self.listed)
        except Refused:
            return None

    @cached_property
    def routes(self) -> Routes | None:
        """Which nodes reach whose Pods with every BGP session up; None if too little was seen."""
        return routes_of(self.world, frozenset()) if self.world else None

    def announces(self, node: str) -> bool | None:
        """Whether other nodes learn the addresses of this node's Pods, by configuration; None if that is not proven."""
        if self.world is None or self.routes is None or not self.routes.proof.holds:
            return None
        numbers = {each.name: number for number, each in enumerate(self.world.nodes)}
        return self.routes.announces(numbers[node]) if node in numbers else None

    @cached_property
    def peers(self) -> tuple[BgpPeer, ...]:
        return tuple(BgpPeer.from_json(each) for each in self.items("BGPPeer"))

    @cached_property
    def mesh(self) -> bool:
        """Whether Calico's node-to-node mesh is on."""
        return bool(self.world and self.world.network.full_mesh is not False and self.peers_matter)

    @cached_property
    def peers_matter(self) -> bool:
        """Whether this is Calico with routes by BGP."""
        return self.listed.has("IPPool") or bool(self.peers)

    # -- DNS -------------------------------------------------------------------------------------------------------

    @cached_property
    def dns(self) -> tuple[str, str] | None:
        """Namespace and name of the Service of cluster DNS; None if it is unknown."""
        found = self.world.dns if self.world else None
        return (found.namespace, found.name) if found else None

    @cached_property
    def dns_selector(self) -> str:
        """The Pods of cluster DNS, as a label selector."""
        found = self.world.dns if self.world else None
        return ",".join(f"{key}={value}" for key, value in sorted((found.selector if found else {}).items()))

    @cached_property
    def dns_pods(self) -> tuple[Pod, ...]:
        """The Pods of cluster DNS that are not on their way out."""
        found = self.world.dns if self.world else None
        if found is None or not found.selector:
            return ()
        return tuple(
            pod
            for pod in self.pods
            if pod.namespace == found.namespace
            and not pod.is_record
            and not pod.terminating
            and found.selector.items() <= pod.labels.items()
        )


def sight_of(listed: Listed, now: datetime | None = None) -> ClusterSight:
    """Return what a snapshot shows. Raises `Refused`, naming the field, for a value that is not valid.

    `now`: the time at which it was taken, if it does not say so itself.
    """
    said = listed.measured
    try:
        sight = ClusterSight(
            listed=listed,
            now=parse_time(listed.taken_at) or now or _latest(listed),
            api=str(said.get("api") or ""),
            context=str(said.get("context") or ""),
            findings={each["check"]: finding_from(each) for each in said.get("findings") or ()},
            nodes_seen={name: NodeSight.from_json(each) for name, each in (said.get("nodes") or {}).items()},
            blind={str(name): str(why) for name, why in (said.get("blind") or {}).items()},
        )
        _ = (
            sight.nodes,
            sight.pods,
            sight.events,
            sight.services,
            sight.endpoints,
            sight.leases,
            sight.peers,
        )
    except MALFORMED as error:
        raise Refused(f"the snapshot: invalid value ({error})", HOW_TO) from None
    return sight


def finding_from(value: Mapping[str, Any]) -> Finding:
    """Return what `Finding.to_json` wrote. Raises MALFORMED errors for anything else."""
    return Finding(
        check=value["check"],
        status=Status(value["status"]),
        summary=str(value.get("summary", "")),
        evidence=tuple(
            Evidence(
                subject=str(row["subject"]),
                status=Status(row["status"]),
                detail=str(row.get("detail", "")),
                counts=bool(row.get("counts", True)),
            )
            for row in value.get("evidence") or ()
        ),
    )


def _latest(listed: Listed) -> datetime:
    """Return the latest time in a snapshot that does not say when it was taken: of a Lease, an Event or a node."""
    moments = [
        parse_time((each.get("spec") or {}).get("renewTime"))
        for each in map(plain, (raw for _, raw in listed.items.get("Lease", ())))
    ]
    moments += [CoreV1Event.from_json(plain(raw)).last_seen for _, raw in listed.items.get("Event", ())]
    moments += [Node.from_json(plain(raw)).heartbeat for _, raw in listed.items.get("Node", ())]
    return max((moment for moment in moments if moment), default=datetime.now(UTC))

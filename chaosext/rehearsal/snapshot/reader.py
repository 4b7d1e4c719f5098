"""Read snapshot files into the cluster model of a rehearsal; anything missing is a stated assumption, or unknown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chaosext.cluster.objects import (
    CONTROL_PLANE_LABELS,
    ZONE_LABEL,
    BgpPeer,
    IpPool,
    Taint,
    node_to_node_mesh,
    parse_time,
)
from chaosext.cluster.timings import flags_from
from chaosext.model.errors import MALFORMED, Refused
from chaosext.rehearsal.snapshot import documents as doc
from chaosext.rehearsal.snapshot.control_plane_flags import (
    SERVERS,
    STATIC_PODS,
    asks_for_leases,
    control_plane,
    distribution_flags,
    evicts,
    given_flags,
    idle,
    minor,
    unmodelled,
)
from chaosext.rehearsal.snapshot.dns_detection import (
    DnsShown,
    DnsSighting,
    dns_alternatives,
    doubts_of_node_cache,
    find_dns,
    handed_out,
    is_node_cache,
    is_node_cache_config,
    nearness,
    stale_s,
)
from chaosext.rehearsal.snapshot.mesh_detection import (
    FAILS_OPEN,
    ISTIOD,
    NOT_INJECTED,
    MeshSighting,
    captures_dns,
    is_meshed,
    other_meshes,
)
from chaosext.rehearsal.snapshot.networks import kube_router
from chaosext.rehearsal.snapshot.networks.calico import READ, is_for_pods
from chaosext.rehearsal.snapshot.networks.cilium import CONFIG as CILIUM_CONFIG
from chaosext.rehearsal.snapshot.networks.cilium_agents import (
    AGENT,
    AgentShown,
    agent_alternatives,
    agent_shown,
)
from chaosext.rehearsal.snapshot.networks.cilium_bgp import BGP_KINDS
from chaosext.rehearsal.snapshot.networks.detect import detect
from chaosext.rehearsal.snapshot.networks.flannel import BACKEND
from chaosext.rehearsal.snapshot.networks.overlays import ANTREA_CONFIG
from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns
from chaosext.rehearsal.snapshot.node_patterns import behind, is_over, templates
from chaosext.rehearsal.snapshot.platforms import (
    Platform,
    as_run_by,
    hidden_control_plane,
    platform_of,
    repairs,
    timing_alternatives,
)
from chaosext.rehearsal.snapshot.pod_specs import Specs, resources, selector
from chaosext.rehearsal.snapshot.snapshot_files import HOW_TO, Listed, plain, read_files
from chaosext.rehearsal.snapshot.webhooks import KINDS as WEBHOOKS
from chaosext.rehearsal.snapshot.webhooks import webhooks
from chaosext.rehearsal.snapshot.world import (
    Alternative,
    ControlPlane,
    DisruptionBudget,
    Doubt,
    Mesh,
    Network,
    Node,
    OtherMesh,
    Plugin,
    Service,
    Webhook,
    Workload,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from chaosext.rehearsal.snapshot.snapshot_files import Reading
    from chaosext.rehearsal.snapshot.world import Pod

WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job")
ASKED_FOR = ("Node", "Pod", *WORKLOADS[:4], "Service", "Namespace", "PodDisruptionBudget")
OWNERS = ("ReplicaSet", "StatefulSet", "DaemonSet")
"""Kinds whose absence the Pods prove: only those with a Pod matter to a prediction."""

CALICO_KINDS = ("BGPPeer", "BGPConfiguration", "IPPool")

REGION_LABEL = "topology.kubernetes.io/region"
OLD_ZONE_LABELS = ("failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone")
"""Labels from before Kubernetes 1.17, still read by the node lifecycle controller (component-helpers/node/topology)."""

MANAGER = "kube-controller-manager-"
WITH_TIMINGS = (MANAGER, "kube-apiserver-")
"""Name prefixes of the static Pods whose arguments give the timings (kubeadm appends the node's name)."""

API_SERVER_NAMESPACES = ("kube-system", "openshift-kube-apiserver")
"""Where a node's static Pod kube-apiserver-<node> is: with kubeadm and with OpenShift."""

OWN_NAMESPACE = "kube-system"
"""A small cluster may have Pods in this namespace only."""

GATHERED_SPACES = ("openshift", "kube-", "default")
"""How namespaces begin that must-gather takes, or that have no Pods."""

REVISION = "controller-revision-hash"
"""Label of a DaemonSet's Pods that tells its templates apart."""

NODE_LEASES = "kube-node-lease"
HEALTH_CHECKS = ("MachineHealthCheck", "NodeHealthCheck")
"""Kinds that replace nodes which are not Ready: OpenShift, Cluster API; Medik8s."""


def read_snapshot(
    paths: Sequence[Path],
    *,
    controller_manager_args: Sequence[str] = (),
    apiserver_args: Sequence[str] = (),
    reading: Reading | None = None,
) -> World:
    """Read `paths`, which together form one snapshot: files, directories, archives, `-` for stdin.

    `…_args` are flags (`--name=value`) in force. `reading` counts what is read.

    Raises `Refused`, with the file and the fix, if a file has no Kubernetes objects or is damaged, or there
    are no nodes.
    """
    arguments = (*controller_manager_args, *apiserver_args)
    return world_of(read_files(paths, reading), arguments, where=", ".join(map(str, paths)))


def world_of(listed: Listed, arguments: Sequence[str] = (), *, where: str = "the snapshot") -> World:
    """Return the cluster of a snapshot's objects. Raises `Refused`, naming `where`, if a value is not valid.

    `arguments` are flags (`--name=value`) in force.
    """
    try:
        return _World(listed).made(arguments)
    except MALFORMED as error:
        raise Refused(f"{where}: invalid value ({error})", HOW_TO) from None


class _World:
    """Builder of a `World` that collects the assumptions made for it."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed
        self._assumptions: list[str] = []
        self._missing: set[str] = set()
        self._doubts: list[Doubt] = []
        self._otherwise: list[Alternative] = []
        self._static: list[bytes | memoryview] = []
        self._sees_manager = False
        self._distribution: dict[str, str] | None = None
        self._backends: dict[str, str] = {}
        self._notes: dict[str, dict[str, str]] = {}
        self._routers: dict[str, list[str]] = {}
        self._agents: dict[str, AgentShown] = {}
        self._capturing: dict[tuple[str, str], bool] = {}
        """Namespace and owner of meshed Pods (a bare Pod is its own) -> whether their sidecars answer lookups."""

    def made(self, arguments: Sequence[str]) -> World:
        flags, found, pods = given_flags(arguments), self._nodes(), self._pods()
        nodes = self._with_roles(found, pods)
        self._miss_kinds(pods)
        self._doubt_namespaces(pods)
        self._doubt_flags(flags)
        services, workloads, platform = self._services(), self._workloads(), platform_of(nodes)
        dns, asked = self._dns(services, pods), self._handed_out()
        mesh, control_plane = self._mesh(services, pods), self._control_plane(flags, platform)
        self._otherwise += dns_alternatives(dns.service, workloads.values(), pods)
        self._otherwise += hidden_control_plane(nodes, platform)
        return World(
            nodes=nodes,
            pods=pods,
            workloads=workloads,
            budgets=tuple(map(_budget, self._listed.of("PodDisruptionBudget", doc.Budget))),
            services=tuple(service for service, _ in services),
            dns=dns.service,
            dns_doubts=(*dns.doubts, *doubts_of_node_cache(nodes, pods, asked)),
            dns_stale_s=self._stale_s(),
            network=self._network(nodes, pods),
            mesh=mesh,
            other_meshes=self._other_meshes(services, workloads.values(), pods),
            webhooks=self._webhooks(services, pods, nodes),
            control_plane=control_plane,
            repairs=repairs(nodes, templates(pods), self._health_checks()),
            doubts=(
                *self._doubts,
                *_unseen_nodes(nodes, pods),
                *_replaced_late(workloads, pods, dns.service, mesh),
            ),
            alternatives=tuple(self._otherwise),
            taken_at=parse_time(self._listed.taken_at),
            missing=frozenset(self._missing),
            assumptions=tuple(self._assumptions),
        )

    def _assume(self, what: str) -> None:
        self._assumptions.append(what)

    def _miss_kinds(self, pods: Sequence[Pod]) -> None:
        absent = [kind for kind in ASKED_FOR if not self._listed.has(kind)]
        owners = {owner.partition("/")[0] for owner in {pod.owner for pod in pods}}
        proven = [kind for kind in absent if kind in OWNERS and pods and kind not in owners]
        if proven:
            self._assume(f"the snapshot contains no {', '.join(proven)}, and no Pod that belongs to one")
        unproven = [kind for kind in absent if kind not in proven]
        self._missing.update(absent)
        if unproven:
            self._assume(
                f"the snapshot contains no {', '.join(unproven)}: the cluster is assumed to have none"
            )

    def _doubt_namespaces(self, pods: Sequence[Pod]) -> None:
        """Doubt that the snapshot has the Pods of all namespaces, if `-A` seems to be left out."""
        spaces = {pod.namespace for pod in pods}
        if not spaces:
            self._assume("there are nodes, but no Pods: was -A left out?")
        elif len(spaces) == 1 and spaces != {OWN_NAMESPACE}:
            self._doubt(f"all Pods are of namespace {min(spaces)}: was -A left out?")
        lists = self._listed.lists
        if lists["ReplicationController"] == lists["Pod"] == 2:
            self._doubt("the dump has the Pods of two namespaces only: was --all-namespaces left out?")
        if self._listed.is_gathered:
            self._doubt_gathered(spaces)

    def _doubt_gathered(self, spaces: Collection[str]) -> None:
        """Doubt a must-gather, which leaves out the namespaces of users, if there are any."""
        known = (each.metadata.name for each in self._listed.of("Namespace", doc.Workload))
        left_out = sorted(
            name for name in known if name not in spaces and not name.startswith(GATHERED_SPACES)
        )
        if left_out:
            some = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
            self._doubt(f"must-gather has no Pods of namespace {some}: add `kubectl get pods -A -o json`")

    def _doubt(self, why: str) -> None:
        """Make every outcome unknown, as an assumption could be wrong in either direction."""
        self._doubts.append(Doubt(subject="the snapshot", why=why))
        self._assume(why)

    # -- nodes and Pods --

    def _nodes(self) -> tuple[Node, ...]:
        found = list(self._listed.of("Node", doc.Node))
        if not found:
            raise Refused("the snapshot contains no Node, so there is nothing to rehearse", HOW_TO)
        calico = {each.metadata.name: each.spec.bgp for each in self._listed.of("CalicoNode", doc.CalicoNode)}
        leases = self._leases()
        self._backends = {
            each.metadata.name: backend
            for each in found
            if (backend := (each.metadata.annotations or {}).get(BACKEND, ""))
        }
        self._notes = {
            each.metadata.name: {
                key: notes[key]
                for key in kube_router.ANNOTATIONS
                if key in (notes := each.metadata.annotations or {})
            }
            for each in found
        }
        made = {each.metadata.name: _node(each, calico.get(each.metadata.name), leases) for each in found}
        self._distribution = distribution_flags(each.metadata.annotations or {} for each in found)
        nodes = tuple(made.values())
        if not any(node.zone for node in nodes):
            self._assume("no node has a zone label: all are assumed to be in one zone")
        return tuple(sorted(nodes, key=lambda node: node.name))

    def _with_roles(self, nodes: Sequence[Node], pods: Sequence[Pod]) -> tuple[Node, ...]:
        """Give the control-plane role to nodes without its label that run kube-apiserver as a static Pod."""
        hosts = {pod.node for pod in pods if _is_api_server(pod)}
        unlabelled = [node.name for node in nodes if node.name in hosts and not node.control_plane]
        if unlabelled:
            self._assume(
                f"{', '.join(unlabelled)}: assumed to be of the control plane, by their static Pods kube-apiserver-NAME"
            )
        found = tuple(replace(node, control_plane=node.control_plane or node.name in hosts) for node in nodes)
        if not any(node.control_plane for node in found):
            self._assume(
                "no node has a control-plane role: the control plane is assumed to run outside the cluster's nodes"
            )
        return found

    def _leases(self) -> Mapping[str, datetime | None]:
        leases = self._listed.of("Lease", doc.Lease)
        return {
            each.metadata.name: parse_time(each.spec.renewTime)
            for each in leases
            if each.metadata.namespace == NODE_LEASES
        }

    def _pods(self) -> tuple[Pod, ...]:
        """Return all Pods, and keep the raw JSON of the control plane's static Pods for their arguments."""
        pods: list[Pod] = []
        make = Specs().pod
        found = zip(self._listed.of("Pod", doc.Pod), self._listed.items.get("Pod", ()), strict=True)
        for each, (_, raw) in found:
            if each.metadata.namespace == "kube-system" and each.metadata.name.startswith(WITH_TIMINGS):
                self._static.append(raw)
                self._sees_manager |= each.metadata.name.startswith(MANAGER)
            if each.metadata.name.startswith((kube_router.PROGRAM, AGENT)):
                self._note_agent(each.metadata, raw)
            pods.append(pod := make(each))
            owner = (pod.namespace, pod.owner or pod.name)
            if is_meshed(pod.spec) and owner not in self._capturing:
                self._capturing[owner] = captures_dns(plain(raw))
        if doubles := self._listed.doubles:
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(doubles.items()))
            self._assume(f"objects that occur more than once count once, the newest of each: {said}")
        return tuple(pods)

    def _note_agent(self, meta: doc.Meta, raw: bytes | memoryview) -> None:
        """Keep what is read of a network's agents, once for each template."""
        template = f"{meta.owner} {(meta.labels or {}).get(REVISION, '')}"
        if template in self._routers or template in self._agents:
            return
        containers = (plain(raw).get("spec") or {}).get("containers") or ()
        if meta.name.startswith(kube_router.PROGRAM):
            self._routers[template] = [
                word for each in containers for word in kube_router.kept_words(command_of(each))
            ]
        elif meta.owner == f"DaemonSet/{AGENT}":
            self._agents[template] = agent_shown(containers)

    def _workloads(self) -> dict[tuple[str, str], Workload]:
        found = (_workload(kind, each) for kind in WORKLOADS for each in self._listed.of(kind, doc.Workload))
        return {(each.namespace, f"{each.kind}/{each.name}"): each for each in found}

    # -- services --

    def _services(self) -> tuple[tuple[Service, Mapping[str, str]], ...]:
        """Return each Service with its labels."""
        return tuple(
            (_service(each), each.metadata.labels or {}) for each in self._listed.of("Service", doc.Service)
        )

    def _dns(self, services: Sequence[tuple[Service, Mapping[str, str]]], pods: Sequence[Pod]) -> DnsShown:
        shown = find_dns(DnsSighting(services=services, pods=pods, handed_out=self._handed_out()))
        if shown.assumed:
            self._assume(shown.assumed)
        return shown

    def _handed_out(self) -> tuple[str, ...]:
        return handed_out(self._configs)

    def _stale_s(self) -> float:
        caches = (data for name, data in self._configs.items() if is_node_cache_config(name))
        return max((stale_s(data.get("Corefile", "")) for data in caches), default=0.0)

    @cached_property
    def _configs(self) -> Mapping[str, Mapping[str, str]]:
        """The data of kube-system's ConfigMaps, by name."""
        found = self._listed.of("ConfigMap", doc.ConfigMap)
        return {
            each.metadata.name: each.data or {} for each in found if each.metadata.namespace == "kube-system"
        }

    # -- network --

    def _network(self, nodes: Sequence[Node], pods: Sequence[Pod]) -> Network:
        found, specs = detect(self._sighting(nodes, pods)), {id(pod.spec): pod.spec for pod in pods}
        if found.plugin is Plugin.CALICO:
            self._missing.update(kind for kind in CALICO_KINDS if not self._listed.has(kind))
        self._otherwise += agent_alternatives(found.plugin, self._agents.values())
        more: dict[str, Any] = {} if found.hold_s is None else {"hold_s": found.hold_s}
        return Network(
            plugin=found.plugin,
            shown=found.shown,
            doubts=found.doubts,
            bgp_doubts=found.bgp_doubts,
            bgp_enabled=found.bgp_enabled,
            felix_routes=found.felix_routes,
            peers=tuple(BgpPeer.from_json(plain(raw)) for _, raw in self._listed.items.get("BGPPeer", ())),
            full_mesh=self._full_mesh() if found.meshed is None else found.meshed,
            ebpf=found.ebpf,
            typha=found.typha,
            announcing=found.announcing,
            lingers_s=found.lingers_s,
            pools=tuple(self._pools()),
            nodelocal_dns=any(map(is_node_cache, specs.values())),
            **more,
        )

    def _full_mesh(self) -> bool | None:
        said = self._listed.items.get("BGPConfiguration", ())
        return node_to_node_mesh(plain(raw) for _, raw in said) if said else None

    def _sighting(self, nodes: Sequence[Node], pods: Sequence[Pod]) -> NetworkSigns:
        objects = {
            kind: [_name_and_spec(plain(raw)) for _, raw in self._listed.items.get(kind, ())] for kind in READ
        }
        configs = {
            (each.metadata.namespace, each.metadata.name): each.data or {}
            for each in self._listed.of("ConfigMap", doc.ConfigMap)
            if each.metadata.name.startswith((CILIUM_CONFIG, ANTREA_CONFIG))
        }
        daemon_sets = self._listed.of("DaemonSet", doc.Workload)
        return NetworkSigns(
            nodes=nodes,
            pods=pods,
            daemon_sets=[each.metadata.name for each in daemon_sets],
            deployments={each.metadata.name for each in self._listed.of("Deployment", doc.Workload)},
            others=self._listed.others,
            objects=objects,
            configs=configs,
            backends=self._backends,
            missed={kind: why for kind, why in self._listed.missed.items() if not self._listed.has(kind)},
            documents={
                kind: [plain(raw) for _, raw in self._listed.items.get(kind, ())] for kind in BGP_KINDS
            },
            arguments=self._routers,
            notes=self._notes,
        )

    def _pools(self) -> Iterator[IpPool]:
        """Yield the IPPools that Pods may have addresses of."""
        for _, raw in self._listed.items.get("IPPool", ()):
            found = plain(raw)
            if is_for_pods(found.get("spec") or {}):
                yield IpPool.from_json(found)

    # -- mesh --

    def _mesh(
        self, services: Iterable[tuple[Service, Mapping[str, str]]], pods: Sequence[Pod]
    ) -> Mesh | None:
        meshed = {pod.namespace for pod in pods if is_meshed(pod.spec)}
        istiod = next((service for service, _ in services if service.name == "istiod"), None)
        if istiod is None and not meshed:
            return None
        if istiod is None:
            self._assume("no Service of istiod in the snapshot: assumed to be the Pods with app=istiod")
            istiod = ISTIOD
        if not behind(istiod, pods):
            return None
        return Mesh(
            istiod=istiod,
            injects=self._injected(meshed),
            webhook_fails_closed=self._fails_closed(),
            captures_dns=bool(self._capturing) and all(self._capturing.values()),
        )

    def _injected(self, meshed: set[str]) -> frozenset[str]:
        if "Namespace" in self._missing:
            self._assume(
                "no Namespaces in the snapshot: sidecars are assumed to be injected into Pods that have one"
            )
            self._otherwise.append(NOT_INJECTED)
            return frozenset(meshed)
        known = self._namespaces
        unseen = meshed - known.keys()
        return frozenset(name for name, labels in known.items() if _injects(labels)) | unseen

    @cached_property
    def _namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of each namespace."""
        found = self._listed.of("Namespace", doc.Workload)
        return {each.metadata.name: each.metadata.labels or {} for each in found}

    def _other_meshes(
        self,
        services: Iterable[tuple[Service, Mapping[str, str]]],
        workloads: Iterable[Workload],
        pods: Sequence[Pod],
    ) -> tuple[OtherMesh, ...]:
        istiod = next((service for service, _ in services if service.name == "istiod"), ISTIOD)
        return other_meshes(
            MeshSighting(
                pods=templates(pods),
                namespaces=self._namespaces,
                services=[service.subject for service, _ in services],
                workloads=[each.subject for each in workloads],
                istiod=istiod,
                others=self._listed.others,
            )
        )

    def _webhooks(
        self,
        services: Iterable[tuple[Service, Mapping[str, str]]],
        pods: Sequence[Pod],
        nodes: Sequence[Node],
    ) -> tuple[Webhook, ...]:
        configs = (
            (kind, each) for kind in WEBHOOKS for each in self._listed.of(kind, doc.WebhookConfiguration)
        )
        known = (service for service, _ in services)
        return tuple(webhooks(configs, known, templates(pods), nodes, self._namespaces))

    def _fails_closed(self) -> bool:
        """Whether Istio's webhooks make the API server reject a Pod when the injector is unreachable."""
        found = [
            webhook
            for each in self._listed.of("MutatingWebhookConfiguration", doc.WebhookConfiguration)
            if "sidecar-injector" in each.metadata.name or "istio-revision-tag" in each.metadata.name
            for webhook in each.webhooks or ()
        ]
        if not found:
            self._assume("no injection webhook in the snapshot: assumed to fail closed (failurePolicy Fail)")
            self._otherwise.append(FAILS_OPEN)
        return not found or any(each.failurePolicy == "Fail" for each in found)

    # -- control plane --

    def _static_flags(self) -> dict[str, str] | None:
        return flags_from(map(plain, self._static)) if self._static else self._distribution

    def _doubt_flags(self, given: Mapping[str, str]) -> None:
        for why in unmodelled({**(self._static_flags() or {}), **given}):
            self._doubt(why)

    def _control_plane(self, given: Mapping[str, str], platform: Platform) -> ControlPlane:
        static, where = self._static_flags(), STATIC_PODS if self._static else SERVERS
        made = control_plane(static, given, self._version(), where)
        if static is None:
            made = as_run_by(made, platform, given)
            self._assume(f"no static Pod of the control plane in the snapshot: {made.timings.source}")
        if names := idle(given):
            self._assume(f"no effect on the prediction: {', '.join(f'--{name}' for name in names)}")
        if not self._sees_manager and self._distribution is None:
            self._otherwise += timing_alternatives(made, platform, given)
        flags = {**(static or {}), **given}
        return replace(
            made,
            platform=platform.name,
            evicts=evicts(flags, made.version),
            asks_for_leases=asks_for_leases(flags, made.version),
        )

    def _health_checks(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for kind in HEALTH_CHECKS:
            for _, raw in self._listed.items.get(kind, ()):
                name, spec = _name_and_spec(plain(raw))
                yield f"{kind}/{name}", spec

    def _version(self) -> str:
        if self._listed.version:
            return self._listed.version
        kubelets = {each.status.nodeInfo.kubeletVersion for each in self._listed.of("Node", doc.Node)} - {""}
        return max(kubelets, key=minor, default="")


def _node(found: doc.Node, bgp: doc.CalicoBgp | None, leases: Mapping[str, datetime | None]) -> Node:
    meta, labels = found.metadata, found.metadata.labels or {}
    notes = meta.annotations or {}
    conditions = {each.type: each.status for each in found.status.conditions or ()}
    allocatable = found.status.allocatable or {}
    more: dict[str, Any] = {}
    if "cpu" in allocatable or "memory" in allocatable:
        more["allocatable"] = resources(allocatable)
    if "pods" in allocatable:
        more["max_pods"] = int(allocatable["pods"])
    return Node(
        name=meta.name,
        labels=labels,
        taints=tuple(
            Taint(key=each.key, value=each.value, effect=each.effect) for each in found.spec.taints or ()
        ),
        zone=_zone(labels),
        control_plane=any(label in labels for label in CONTROL_PLANE_LABELS),
        ready=conditions.get("Ready", "Unknown"),
        unschedulable=found.spec.unschedulable,
        internal_ips=tuple(
            each.address for each in found.status.addresses or () if each.type == "InternalIP"
        ),
        other_ips=tuple(each.address for each in found.status.addresses or () if each.type != "InternalIP"),
        lease_renewed=leases.get(meta.name),
        kubelet_version=found.status.nodeInfo.kubeletVersion,
        simulated=doc.KWOK in notes,
        provider=found.spec.providerID.partition("://")[0],
        bgp_addresses=_bgp_addresses(bgp, notes),
        reflector_cluster=(bgp.routeReflectorClusterID if bgp else "")
        or notes.get("projectcalico.org/RouteReflectorClusterID", ""),
        **more,
    )


def command_of(container: Mapping[str, Any]) -> list[str]:
    """Return the words of a container's command and arguments."""
    return [*(container.get("command") or ()), *(container.get("args") or ())]


def _is_api_server(pod: Pod) -> bool:
    """Whether the Pod is the static Pod of kube-apiserver on its node."""
    if not pod.name.startswith("kube-apiserver-"):
        return False
    is_static = pod.owner.partition("/")[0] in ("", "Node")
    return is_static and pod.namespace in API_SERVER_NAMESPACES and pod.name == f"kube-apiserver-{pod.node}"


def _bgp_addresses(bgp: doc.CalicoBgp | None, notes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses in Calico's own Node, or else in the annotations of the Kubernetes Node."""
    own = (bgp.ipv4Address, bgp.ipv6Address) if bgp else ("", "")
    noted = (notes.get(f"projectcalico.org/IPv{family}Address", "") for family in (4, 6))
    return tuple(address for pair in zip(own, noted, strict=True) if (address := pair[0] or pair[1]))


def _name_and_spec(value: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return name and spec of a Calico object. Raises MALFORMED errors for an invalid one."""
    spec = value.get("spec") or {}
    return str(value["metadata"]["name"]), dict(spec)


def _zone(labels: Mapping[str, str]) -> str:
    """Return the zone key of region and zone, as component-helpers/node/topology (GetZoneKey) builds it."""
    old_region, old_zone = OLD_ZONE_LABELS
    region = labels.get(REGION_LABEL) or labels.get(old_region, "")
    zone = labels.get(ZONE_LABEL) or labels.get(old_zone, "")
    return f"{region}:\x00:{zone}" if region or zone else ""


def _workload(kind: str, found: doc.Workload) -> Workload:
    wanted = {"Job": found.spec.parallelism, "DaemonSet": found.status.desiredNumberScheduled}
    replicas = wanted.get(kind, found.spec.replicas)
    return Workload(
        kind=kind,
        namespace=found.metadata.namespace,
        name=found.metadata.name,
        replicas=1 if replicas is None else replicas,
        owner=found.metadata.owner,
        pod_management=found.spec.podManagementPolicy,
        quorum=_quorum(found.metadata),
        replaces_late=found.spec.podReplacementPolicy == "TerminationComplete",
    )


def _quorum(meta: doc.AnnotatedMeta) -> bool | None:
    said = (meta.labels or {}).get(doc.QUORUM) or (meta.annotations or {}).get(doc.QUORUM)
    return {"true": True, "false": False}.get(said or "")


def _service(found: doc.Service) -> Service:
    ips = found.spec.clusterIPs or [found.spec.clusterIP]
    return Service(
        namespace=found.metadata.namespace,
        name=found.metadata.name,
        selector=found.spec.selector or {},
        cluster_ips=tuple(ip for ip in ips if ip and ip != "None"),
        publishes_not_ready=found.spec.publishNotReadyAddresses,
        external=found.spec.type == "LoadBalancer" or found.spec.externalTrafficPolicy == "Local",
        ports=tuple(each.port for each in found.spec.ports or ()),
        local_only=found.spec.internalTrafficPolicy == "Local",
        prefers=nearness(found),
    )


def _budget(found: doc.Budget) -> DisruptionBudget:
    return DisruptionBudget(
        namespace=found.metadata.namespace,
        name=found.metadata.name,
        selector=selector(found.spec.selector),
        min_available=str(found.spec.minAvailable),
        max_unavailable=str(found.spec.maxUnavailable),
    )


def _unseen_nodes(nodes: Iterable[Node], pods: Iterable[Pod]) -> Iterator[Doubt]:
    """Yield each node that Pods run on and that is not in the snapshot: it does not show the whole cluster."""
    known = {node.name for node in nodes}
    elsewhere = (pod for pod in pods if pod.node not in known and pod.node)
    unseen = Counter(pod.node for pod in elsewhere if not is_over(pod) and not pod.terminating)
    for name, count in sorted(unseen.items()):
        why = f"{count} Pods run on it, and it is not in the snapshot, which therefore does not show the whole cluster"
        yield Doubt(subject=f"Node/{name}", why=why)


def _replaced_late(
    workloads: Mapping[tuple[str, str], Workload], pods: Sequence[Pod], dns: Service | None, mesh: Mesh | None
) -> Iterator[Doubt]:
    """Yield each Deployment of kube-dns or istiod that replaces a Pod only once it is gone (alpha in 1.36)."""
    vital = (*behind(dns, pods), *behind(mesh.istiod if mesh else None, pods))
    sets = (workloads.get((pod.namespace, pod.owner)) for pod in vital)
    owners = {(each.namespace, each.owner) for each in sets if each}
    for key in sorted(owners):
        if key in workloads and workloads[key].replaces_late:
            why = "is TerminationComplete: that no Pod is replaced before it is gone isn't modelled"
            yield Doubt(subject=workloads[key].subject, key="spec.podReplacementPolicy", why=why)


def _injects(labels: Mapping[str, str]) -> bool:
    """Whether Istio's labels of a namespace enable injection (istio.io, "Installing the Sidecar")."""
    return labels.get("istio-injection") == "enabled" or (
        "istio.io/rev" in labels and labels.get("istio-injection") != "disabled"
    )

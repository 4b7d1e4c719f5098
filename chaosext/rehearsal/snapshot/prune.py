"""Reduce each object to the fields that a rehearsal needs; `chaosext snapshot` writes nothing else.

Every field that is kept is named here or in documents.py. A snapshot therefore never contains a Secret, an
environment variable (but that of Istio's sidecar about lookups), an image (but the version of Cilium's agents), a
command, a header of a hook or probe (but one of theirs), a ConfigMap other than Cilium's routing settings, kubelet's
clusterDNS and how long NodeLocal DNSCache serves expired names, or an annotation other than Calico's addresses,
flannel's backend, kube-router's peers, KWOK's mark, a Service's topology and chaosext.io/quorum. Of a node's
providerID only its scheme is kept. The only arguments kept are those flags of the control plane
(control_plane_flags.READ_FLAGS) and of kube-router that a prediction reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from chaosext.rehearsal.snapshot import documents as doc
from chaosext.rehearsal.snapshot.control_plane_flags import NODE_ARGS, READ_FLAGS, timing_node_args
from chaosext.rehearsal.snapshot.dns_detection import (
    KUBELET_CONFIG,
    LOCAL_WITH_FALLBACK,
    MARKS,
    NODE_CACHES,
    TOPOLOGY,
    config_of_dns,
)
from chaosext.rehearsal.snapshot.mesh_detection import AMBIENT_LABEL, DNS_CAPTURE, is_capturing
from chaosext.rehearsal.snapshot.networks import cilium_bgp, kube_router
from chaosext.rehearsal.snapshot.networks.calico import HARMLESS, READ, USED_FOR, USES
from chaosext.rehearsal.snapshot.networks.cilium import CONFIG as CILIUM_CONFIG
from chaosext.rehearsal.snapshot.networks.cilium import KEYS as CILIUM_KEYS
from chaosext.rehearsal.snapshot.networks.cilium_agents import AGENT, kept_of_agent
from chaosext.rehearsal.snapshot.networks.flannel import BACKEND
from chaosext.rehearsal.snapshot.reader import NODE_LEASES, WITH_TIMINGS, WORKLOADS, command_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_FLAG = re.compile(r"--([a-z-]+)=.*")

_CALICO_KINDS = ("BGPPeer", "BGPConfiguration", "IPPool", "FelixConfiguration")

_LABELS = {
    "Service": frozenset(MARKS),
    "Namespace": frozenset({"istio-injection", "istio.io/rev", AMBIENT_LABEL}),
    **dict.fromkeys(WORKLOADS, frozenset({doc.QUORUM})),
}
"""Kind -> the labels to keep. Nodes and Pods keep all labels, as a selector may use any of them."""

_WITH_ALL_LABELS = ("Node", "Pod")

_ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    "Node": (
        "projectcalico.org/IPv4Address",
        "projectcalico.org/IPv6Address",
        "projectcalico.org/RouteReflectorClusterID",
        BACKEND,
        *kube_router.ANNOTATIONS,
        doc.KWOK,
        *NODE_ARGS,
    ),
    "Service": (*TOPOLOGY, LOCAL_WITH_FALLBACK),
    **dict.fromkeys(WORKLOADS, (doc.QUORUM,)),
}
"""Kind -> the annotations to keep; of k3s' and RKE2's arguments, the same flags as of the control plane's."""

CONFIGS = (CILIUM_CONFIG, KUBELET_CONFIG, *NODE_CACHES)
"""The ConfigMaps of kube-system to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """A kind of object to read: its names in a request and in a List, and its namespace ("" for all).

    `name`: read only the object of this name, "" for all. `needs`: not asked for unless an object of this name exists.
    """

    plural: str
    kind: str
    api_version: str
    namespace: str = ""
    name: str = ""
    needs: str = ""


WANTED = (
    ObjectKind(plural="nodes", kind="Node", api_version="v1"),
    ObjectKind(plural="namespaces", kind="Namespace", api_version="v1"),
    ObjectKind(plural="services", kind="Service", api_version="v1"),
    ObjectKind(plural="deployments", kind="Deployment", api_version="apps/v1"),
    ObjectKind(plural="replicasets", kind="ReplicaSet", api_version="apps/v1"),
    ObjectKind(plural="statefulsets", kind="StatefulSet", api_version="apps/v1"),
    ObjectKind(plural="daemonsets", kind="DaemonSet", api_version="apps/v1"),
    ObjectKind(plural="jobs", kind="Job", api_version="batch/v1"),
    ObjectKind(plural="poddisruptionbudgets", kind="PodDisruptionBudget", api_version="policy/v1"),
    ObjectKind(
        plural="mutatingwebhookconfigurations",
        kind="MutatingWebhookConfiguration",
        api_version="admissionregistration.k8s.io/v1",
    ),
    ObjectKind(
        plural="validatingwebhookconfigurations",
        kind="ValidatingWebhookConfiguration",
        api_version="admissionregistration.k8s.io/v1",
    ),
    ObjectKind(plural="bgppeers", kind="BGPPeer", api_version="crd.projectcalico.org/v1"),
    ObjectKind(plural="bgpconfigurations", kind="BGPConfiguration", api_version="crd.projectcalico.org/v1"),
    ObjectKind(plural="ippools", kind="IPPool", api_version="crd.projectcalico.org/v1"),
    ObjectKind(
        plural="felixconfigurations", kind="FelixConfiguration", api_version="crd.projectcalico.org/v1"
    ),
    *(
        ObjectKind(
            plural="configmaps", kind="ConfigMap", api_version="v1", namespace="kube-system", name=name
        )
        for name in CONFIGS
    ),
    *(
        ObjectKind(plural=plural, kind=kind, api_version="cilium.io/v2alpha1", needs=CILIUM_CONFIG)
        for kind, plural in cilium_bgp.PLURALS.items()
    ),
    ObjectKind(plural="pods", kind="Pod", api_version="v1"),
    ObjectKind(plural="leases", kind="Lease", api_version="coordination.k8s.io/v1", namespace=NODE_LEASES),
)
"""All kinds that a rehearsal can use. Leases come last, so that they are as fresh as possible."""


def least(wanted: ObjectKind, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with its kind and only the needed fields. Raises MALFORMED errors for an invalid object."""
    said = {"apiVersion": wanted.api_version, "kind": wanted.kind}
    if wanted.kind in _CALICO_KINDS:
        return said | _calico(wanted.kind, item)
    if wanted.kind in cilium_bgp.BGP_KINDS:
        return said | cilium_bgp.kept(wanted.kind, item)
    kept: dict[str, Any] = msgspec.to_builtins(msgspec.convert(item, doc.KINDS[wanted.kind]))
    _keep(kept["metadata"], "annotations", _ANNOTATIONS.get(wanted.kind, ()))
    if wanted.kind not in _WITH_ALL_LABELS:
        _keep(kept["metadata"], "labels", _LABELS.get(wanted.kind, ()))
    if wanted.kind == "Pod":
        _complete_pod(kept, item)
    elif wanted.kind == "ConfigMap":
        _keep_config(kept)
    _keep_arguments(kept["metadata"].get("annotations", {}))
    if provider := kept.get("spec", {}).get("providerID"):
        kept["spec"]["providerID"] = f"{provider.partition('://')[0]}://"
    return said | kept


def _keep_arguments(annotations: dict[str, str]) -> None:
    if kube_router.PEERS in annotations:
        annotations[kube_router.PEERS] = ""
    for name in NODE_ARGS:
        if name in annotations:
            annotations[name] = timing_node_args(annotations[name])


def _keep(kept: dict[str, Any], name: str, keys: Collection[str]) -> None:
    """Reduce the mapping `name` in `kept` to the given `keys`; remove it if it has none of them."""
    given = kept.pop(name, None) or {}
    if found := {key: given[key] for key in keys if key in given}:
        kept[name] = found


def _keep_config(kept: dict[str, Any]) -> None:
    """Reduce a ConfigMap to the settings that are read."""
    settings = config_of_dns(kept["metadata"]["name"], kept.get("data") or {})
    if settings is None:
        _keep(kept, "data", CILIUM_KEYS)
        return
    kept.pop("data", None)
    if settings:
        kept["data"] = settings


def _calico(kind: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are read, and the names of unknown fields without values, as those may change routes."""
    spec = item.get("spec") or {}
    read: dict[str, Any] = {
        name: [use for use in USES if use in value] if name == USED_FOR else _plain(value)
        for name, value in spec.items()
        if name in READ[kind]
    }
    unknown = spec.keys() - read.keys() - HARMLESS[kind] if kind in HARMLESS else ()
    return {
        "metadata": {"name": str(item["metadata"]["name"])},
        "spec": read | dict.fromkeys(sorted(unknown)),
    }


def _plain(value: Any) -> str | int:
    """Return a string, number or boolean, the only types of these fields. Raises TypeError for anything else."""
    if not isinstance(value, str | int):
        raise TypeError(f"a {type(value).__name__} where a text or a number is expected")
    return value


def _complete_pod(kept: dict[str, Any], item: Mapping[str, Any]) -> None:
    """Set the phase even if it is the default; keep only the flags that are read of the control plane's arguments."""
    status = kept.setdefault("status", {})
    status["phase"] = (item.get("status") or {}).get("phase") or "Unknown"
    if "conditions" in status:
        status["conditions"] = [each for each in status["conditions"] if each.get("type") == "Ready"]
    if item["metadata"]["name"].startswith(WITH_TIMINGS):
        for container, whole in zip(kept["spec"]["containers"], item["spec"]["containers"], strict=True):
            container["command"] = [each for each in command_of(whole) if _is_timing(each)]
    for part in ("containers", "initContainers"):
        given, whole_spec = kept.get("spec", {}).get(part) or (), (item.get("spec") or {}).get(part) or ()
        for container, whole in zip(given, whole_spec, strict=True):
            if is_capturing(whole):
                container["env"] = [{"name": DNS_CAPTURE, "value": "true"}]
    if item["metadata"]["name"].startswith((kube_router.PROGRAM, AGENT)):
        _complete_agent(kept, item)


def _complete_agent(kept: dict[str, Any], item: Mapping[str, Any]) -> None:
    """Keep what is read of a network's agent: kube-router's flags; Cilium's version and one header of its probe."""
    for container, whole in zip(kept["spec"]["containers"], item["spec"]["containers"], strict=True):
        if words := kube_router.kept_words(command_of(whole)):
            container["command"] = words
        of_agent = kept_of_agent(whole)
        if probe := of_agent.pop("livenessProbe", None):
            container.setdefault("livenessProbe", {}).setdefault("httpGet", {}).update(probe["httpGet"])
        container.update(of_agent)


def _is_timing(word: str) -> bool:
    match = _FLAG.fullmatch(word)
    return match is not None and match[1] in READ_FLAGS

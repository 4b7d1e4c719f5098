"""Meshes other than Istio's sidecars: which one a snapshot shows, and which Pods depend on it.

None of them is modelled, so that the fate of their Pods is unknown once a cut evicts any. Detection is broad: one
sign is enough. Source: the projects' documentation and charts (Istio ambient, Linkerd, Consul, Kuma, Open Service
Mesh, AWS App Mesh, NGINX Service Mesh, Cilium Service Mesh).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chaosext.cluster.objects import PROXY_CONTAINER
from chaosext.rehearsal.snapshot.node_patterns import behind
from chaosext.rehearsal.snapshot.world import Alternative, OtherMesh, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.world import Labels, Mesh, Pod, PodSpec, World

AMBIENT, AMBIENT_LABEL, ZTUNNEL = "Istio ambient", "istio.io/dataplane-mode", "ztunnel"

SIDECARS: Mapping[str, str] = {
    "linkerd-proxy": "Linkerd",
    "consul-dataplane": "Consul",
    "consul-connect-envoy-sidecar": "Consul",
    "envoy-sidecar": "Consul",
    "kuma-sidecar": "Kuma",
    "nginx-mesh-sidecar": "NGINX Service Mesh",
}
"""Name of a sidecar's container -> its mesh."""

LABELS: Mapping[str, str] = {
    "linkerd.io/control-plane-ns": "Linkerd",
    "consul.hashicorp.com/connect-inject-status": "Consul",
    "kuma.io/sidecar-injected": "Kuma",
    "osm-proxy-uuid": "Open Service Mesh",
}
"""Label of a Pod -> its mesh."""

CONTROLLERS: Mapping[str, str] = {
    "linkerd-destination": "Linkerd",
    "linkerd-identity": "Linkerd",
    "linkerd-proxy-injector": "Linkerd",
    "consul-connect-injector": "Consul",
    "kuma-control-plane": "Kuma",
    "kong-mesh-control-plane": "Kuma",
    "osm-controller": "Open Service Mesh",
    "appmesh-controller": "AWS App Mesh",
    "nginx-mesh-controller": "NGINX Service Mesh",
}
"""End of the name of a mesh's own Deployment or Service -> the mesh. Without sidecars, any Pod may be its member."""

MODELLED = "the behaviour of its proxies and of new Pods without its control plane isn't modelled"
ELSEWHERE = "Istio with istiod elsewhere"


DNS_CAPTURE = "ISTIO_META_DNS_CAPTURE"
"""Environment variable of Istio's sidecar: "true" if it answers lookups of Services (istio.io, "DNS Proxying")."""

ISTIOD = Service(namespace="istio-system", name="istiod", selector={"app": "istiod"})
"""istiod, if its Service is not in the snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSighting:
    """The evidence of meshes. `pods`: one of each template. `namespaces`: their labels. `others` as in `Listed`."""

    pods: Sequence[Pod]
    namespaces: Mapping[str, Labels]
    services: Iterable[str]
    workloads: Iterable[str]
    istiod: Service | None = None
    others: Mapping[tuple[str, str], str] = field(default_factory=dict)


def is_capturing(container: Mapping[str, Any]) -> bool:
    """Whether a container, as in a Pod's spec, is a sidecar of Istio that answers lookups of Services."""
    if container.get("name") != PROXY_CONTAINER:
        return False
    values = {each.get("name"): each.get("value") for each in container.get("env") or ()}
    return values.get(DNS_CAPTURE) == "true"


def is_meshed(spec: PodSpec) -> bool:
    """Whether Pods of the template have a sidecar of Istio."""
    return any(each.name == PROXY_CONTAINER for each in spec.containers)


def captures_dns(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod's sidecar answers lookups of Services."""
    spec = pod.get("spec") or {}
    return any(
        is_capturing(each) for part in ("containers", "initContainers") for each in spec.get(part) or ()
    )


def other_meshes(seen: MeshSighting) -> tuple[OtherMesh, ...]:
    """Return the meshes in the snapshot that are not modelled, by name."""
    found = (*_sidecars(seen), *_ambient(seen), *_external(seen), *_cilium(seen))
    return tuple(sorted(found, key=lambda each: each.name))


def _sidecars(seen: MeshSighting) -> Iterator[OtherMesh]:
    """Yield each mesh with a sidecar, a label or a controller of its own in the snapshot."""
    of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    signs: dict[str, str] = {}
    for pod in seen.pods:
        if mesh := _mesh_of(pod.spec):
            of[mesh].add((pod.namespace, pod.owner))
            signs.setdefault(mesh, pod.subject)
    for name in (*seen.workloads, *seen.services):
        mesh = next((mesh for own, mesh in CONTROLLERS.items() if name.endswith(own)), "")
        if mesh:
            signs.setdefault(mesh, name)
    for mesh, subject in sorted(signs.items()):
        members = frozenset(of[mesh]) or _every_owner(seen.pods)
        yield OtherMesh(
            name=mesh, subject=subject, members=members, settles=f"a run against {mesh} on a test cluster"
        )


def _mesh_of(spec: PodSpec) -> str:
    by_container = (SIDECARS.get(each.name, "") for each in spec.containers)
    by_label = (mesh for label, mesh in LABELS.items() if label in spec.labels)
    return next((mesh for mesh in (*by_container, *by_label) if mesh), "")


def _every_owner(pods: Iterable[Pod]) -> frozenset[tuple[str, str]]:
    return frozenset((pod.namespace, pod.owner) for pod in pods)


def _ambient(seen: MeshSighting) -> Iterator[OtherMesh]:
    """Yield Istio's ambient mesh: its members are Pods of labelled namespaces, or of namespaces that aren't shown."""
    labelled = {name for name, labels in seen.namespaces.items() if labels.get(AMBIENT_LABEL) == "ambient"}
    agents = [pod for pod in seen.pods if pod.spec.labels.get("app") == ZTUNNEL]
    own = [pod for pod in seen.pods if pod.spec.labels.get(AMBIENT_LABEL) == "ambient"]
    named = [name for name in seen.workloads if name.endswith(f"/{ZTUNNEL}")]
    if not (labelled or agents or own or named):
        return
    subject = (
        agents[0].subject
        if agents
        else (named or [f"Namespace/{min(labelled)}" if labelled else own[0].subject])[0]
    )
    yield OtherMesh(
        name=AMBIENT,
        subject=subject,
        members=_every_owner(filter(_is_ambient(seen.namespaces, labelled), seen.pods)),
        settles="a run against it on a test cluster",
    )


def _is_ambient(namespaces: Mapping[str, Labels], labelled: set[str]) -> Callable[[Pod], bool]:
    """Return whether a Pod may be in the ambient mesh; its own label comes before its namespace's."""

    def is_member(pod: Pod) -> bool:
        said = pod.spec.labels.get(AMBIENT_LABEL, "")
        is_unseen = not labelled or pod.namespace not in namespaces
        is_own = pod.spec.labels.get("app") == ZTUNNEL
        return said != "none" and (said == "ambient" or pod.namespace in labelled or is_unseen or is_own)

    return is_member


def _external(seen: MeshSighting) -> Iterator[OtherMesh]:
    """Yield Istio's sidecars if no istiod is in the snapshot: it runs elsewhere, as with a managed control plane."""
    if behind(seen.istiod, seen.pods):
        return
    meshed = [pod for pod in seen.pods if any(each.name == PROXY_CONTAINER for each in pod.spec.containers)]
    if meshed:
        yield OtherMesh(
            name=ELSEWHERE,
            subject=meshed[0].subject,
            members=_every_owner(meshed),
            settles="the Pods of istiod in the snapshot",
            breaks_at_once=True,
        )


def _cilium(seen: MeshSighting) -> Iterator[OtherMesh]:
    for (group, kind), subject in sorted(seen.others.items()):
        if group == "cilium.io" and kind in ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"):
            yield OtherMesh(
                name="Cilium Service Mesh",
                subject=subject,
                members=_every_owner(seen.pods),
                settles="a run against it on a test cluster",
            )
            return


# -- Istio: what may be otherwise ----------------------------------------------------------------------------------


def _with_mesh(world: World, change: Callable[[Mesh], Mesh]) -> World:
    return replace(world, mesh=change(world.mesh)) if world.mesh else world


NOT_INJECTED = Alternative(
    name="injection",
    assumed="Istio injects sidecars into the namespaces whose Pods have one, as no Namespace is in the snapshot",
    settles="have the Namespaces in the snapshot",
    apply=lambda world: _with_mesh(world, lambda mesh: replace(mesh, injects=frozenset())),
)

FAILS_OPEN = Alternative(
    name="injection webhook",
    assumed="Istio's injection webhook fails closed, as no MutatingWebhookConfiguration is in the snapshot",
    settles="have the MutatingWebhookConfigurations in the snapshot",
    apply=lambda world: _with_mesh(world, lambda mesh: replace(mesh, webhook_fails_closed=False)),
)

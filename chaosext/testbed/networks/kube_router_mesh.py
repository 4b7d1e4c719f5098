"""kube-router as its manifest for kubeadm has it: every node has a BGP session with every other node.

Its firewall and its service proxy are off: kube-proxy stays. The leaf has no session. Overlays change upstream's
manifest, which is not copied into this repository. Pure.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from chaosext.testbed.bundle import KUBE_ROUTER_MANIFEST
from chaosext.testbed.kubectl import Manifest, parse_documents
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup

if TYPE_CHECKING:
    from chaosext.testbed.node_images import ImageSet

CNI_IS_USABLE = "grep --quiet '\"subnet\"' /etc/cni/net.d/10-kuberouter.conflist"
"""kube-router writes the node's Pod subnet into the CNI configuration, which lacks it at first."""

SWITCHED = {"--run-firewall": "false"}


def kube_router_objects(manifest: str, *, image: str) -> tuple[Manifest, ...]:
    """Return upstream's kubeadm-kuberouter.yaml for the testbed's image, without the firewall."""
    return tuple(
        _with_image(each, image) if each["kind"] == "DaemonSet" else each
        for each in parse_documents(manifest)
    )


def _with_image(daemon_set: Manifest, image: str) -> Manifest:
    changed = copy.deepcopy(daemon_set)
    pod = changed["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = image
        container["imagePullPolicy"] = "IfNotPresent"
    for container in pod["containers"]:
        container["args"] = list(map(_switched, container["args"]))
        container["resources"] = {"requests": {"cpu": "20m"}}
    return changed


def _switched(argument: str) -> str:
    name, _, value = argument.partition("=")
    return f"{name}={SWITCHED.get(name, value)}"


def _batches(inputs: NetworkInputs) -> tuple[tuple[Manifest, ...], ...]:
    parts = inputs.images.networks
    return (kube_router_objects(parts.manifest(KUBE_ROUTER_MANIFEST), image=parts.kube_router_image),)


def _images_of(images: ImageSet) -> tuple[str, ...]:
    return (images.networks.kube_router_image,)


KUBE_ROUTER = NetworkSetup(
    batches=_batches,
    agent=("kube-system", "kube-router"),
    agent_images=_images_of,
    cni_is_usable=CNI_IS_USABLE,
)
"""BGP between nodes, without a fabric: sessions with control-plane nodes cross a cut."""

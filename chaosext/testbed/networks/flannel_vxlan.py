"""flannel with its default backend, VXLAN: Pod traffic between nodes is tunnelled, and the leaf sees no Pod address.

Overlays change upstream's kube-flannel.yml, which is not copied into this repository. Pure.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from chaosext.testbed.bundle import FLANNEL_MANIFEST
from chaosext.testbed.kubectl import Manifest, parse_documents
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.testbed.node_images import ImageSet

CNI_IS_USABLE = "test -s /run/flannel/subnet.env"
"""flanneld writes this file once the node has its subnet; without it, flannel's CNI plugin fails."""

NET_CONF = "net-conf.json"


def flannel_objects(
    kube_flannel_yaml: str, *, pod_subnet: str, image: str, cni_image: str
) -> tuple[Manifest, ...]:
    """Return upstream's kube-flannel.yml for the testbed's images and Pod network."""
    images = {"install-cni-plugin": cni_image, "install-cni": image, "kube-flannel": image}
    changes: dict[str, Callable[[Manifest], Manifest]] = {
        "ConfigMap": lambda each: _with_network(each, pod_subnet),
        "DaemonSet": lambda each: _with_images(each, images),
    }
    return tuple(
        changes.get(each["kind"], copy.deepcopy)(each) for each in parse_documents(kube_flannel_yaml)
    )


def _with_network(config: Manifest, pod_subnet: str) -> Manifest:
    changed = copy.deepcopy(config)
    network = {**json.loads(changed["data"][NET_CONF]), "Network": pod_subnet}
    changed["data"][NET_CONF] = json.dumps(network)
    return changed


def _with_images(daemon_set: Manifest, images: dict[str, str]) -> Manifest:
    changed = copy.deepcopy(daemon_set)
    pod = changed["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = images[container["name"]]
        container["imagePullPolicy"] = "IfNotPresent"
        if "resources" in container:
            container["resources"] = {"requests": {"cpu": "20m"}}
    return changed


def _batches(inputs: NetworkInputs) -> tuple[tuple[Manifest, ...], ...]:
    parts = inputs.images.networks
    objects = flannel_objects(
        parts.manifest(FLANNEL_MANIFEST),
        pod_subnet=inputs.pod_subnet,
        image=parts.flannel_image,
        cni_image=parts.flannel_cni_image,
    )
    return (objects,)


def _images_of(images: ImageSet) -> tuple[str, ...]:
    return images.networks.flannel_image, images.networks.flannel_cni_image


FLANNEL = NetworkSetup(
    batches=_batches,
    agent=("kube-flannel", "kube-flannel-ds"),
    agent_images=_images_of,
    plugins=("bridge",),
    cni_is_usable=CNI_IS_USABLE,
)
"""An overlay: nodes need no BGP, and a node's routes stay in its kernel without the API server."""

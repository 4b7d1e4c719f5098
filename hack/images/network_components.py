"""The images of networks other than Calico, each with upstream's file layout, over the Debian tree of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.nodes.image_names import REGISTRY
from chaosext.testbed.archive import Component, LayerEntry
from hack.images import recipes
from hack.images.go import module_directory

if TYPE_CHECKING:
    from pathlib import Path


def flannel_components(
    *, flanneld: Path, flannel_cni: Path, tools: Path, tag: str
) -> tuple[Component, Component]:
    """flanneld (images/Dockerfile in its module), and the image from which its CNI plugin is copied."""
    daemon = Component(
        names=(f"{REGISTRY}/flannel:{tag}",),
        base=tools,
        entries=(
            LayerEntry(path="opt/bin/flanneld", source=flanneld / "flanneld"),
            LayerEntry(path="opt/bin/install-conf", source=flanneld / "install-conf"),
        ),
        config={"Entrypoint": ["/opt/bin/flanneld"]},
    )
    plugin = Component(
        names=(f"{REGISTRY}/flannel-cni-plugin:{tag}",),
        base=tools,
        entries=(LayerEntry(path="flannel", source=flannel_cni / "flannel"),),
    )
    return daemon, plugin


def kube_router_components(
    *, kube_router: Path, cni_plugins: Path, tools: Path, tag: str
) -> tuple[Component, ...]:
    """kube-router (Dockerfile in its module), with the one CNI plugin that its installer misses on a kind node."""
    installer = module_directory(recipes.KUBE_ROUTER) / "build/image-assets/cni-install"
    commands = ("kube-router", "gobgp")
    image = Component(
        names=(f"{REGISTRY}/kube-router:{tag}",),
        base=tools,
        entries=(
            *(LayerEntry(path=f"usr/local/bin/{name}", source=kube_router / name) for name in commands),
            LayerEntry(path="usr/local/bin/cni-install", source=installer),
            LayerEntry(path="usr/libexec/cni/bridge", source=cni_plugins / "bridge"),
        ),
        config={"Entrypoint": ["/usr/local/bin/kube-router"]},
    )
    return (image,)

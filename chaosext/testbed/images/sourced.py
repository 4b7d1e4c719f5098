"""Every image from source: Go modules, Debian's packages and Envoy's wheel; only what changed is built again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.testbed import versions
from chaosext.testbed.archive import SEARCH_PATH, Component, Entry, Image
from chaosext.testbed.cache import key_of
from chaosext.testbed.images import recipes, trees
from chaosext.testbed.images.components import (
    LOCAL,
    calico_components,
    istio_components,
    kubernetes_components,
    shop_components,
)
from chaosext.testbed.images.docker import (
    IMPORT_SCRIPT,
    NODE_ENTRYPOINT,
    is_loaded,
    load_images,
    preload_node,
)
from chaosext.testbed.images.envoy import ensure_envoy
from chaosext.testbed.images.gobuild import ensure_go_commands, module_directory
from chaosext.testbed.images.golang import ensure_go
from chaosext.testbed.images.imageset import ImageSet
from chaosext.testbed.images.rootfs import ensure_rootfs
from chaosext.testbed.images.runner import runner_over, runner_tree
from chaosext.testbed.images.sentinel import sentinel_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from chaosext.testbed.progress import Progress

NODE_COMMANDS = ("kubeadm", "kubelet", "kubectl")  # where kubelet.service and kind look for them: /usr/bin


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What images are put together from: directories of built commands, Envoy's binary, and trees as tar files."""

    kind: Path
    kubernetes: Path
    etcd: Path
    coredns: Path
    pause: Path
    shop: Path
    helm: Path
    calico: Path
    istio: Path
    envoy: Path
    node_tree: Path
    tools_tree: Path
    leaf_tree: Path
    python_tree: Path
    runner_tree: Path


def build_images(progress: Progress) -> ImageSet:
    """Build what isn't kept yet, load it into the Docker engine, and say what everything is called.

    Raises `Refused` when not root, not on Debian, or without Go; `CommandFailed`, naming its log, when a build fails.
    """
    ensure_go(progress)
    parts = build_parts(progress)
    calico = _tagged(
        versions.CALICO_VERSION,
        lambda tag: calico_components(calico=parts.calico, tools=parts.tools_tree, tag=tag),
    )
    istio = _tagged(
        versions.ISTIO_VERSION,
        lambda tag: istio_components(istio=parts.istio, envoy=parts.envoy, tools=parts.tools_tree, tag=tag),
    )
    shop = _tagged("v1", lambda tag: shop_components(shop=parts.shop, tools=parts.tools_tree, tag=tag))
    kubernetes = kubernetes_components(
        kubernetes=parts.kubernetes,
        etcd=parts.etcd,
        coredns=parts.coredns,
        pause=parts.pause,
        tools=parts.tools_tree,
    )
    _ensure_loadbalancer(parts, progress)
    hub, tag = istio[0].names[0].removesuffix("/").rsplit("/", 1)[0], istio[0].names[0].rsplit(":", 1)[1]
    return ImageSet(
        source="source",
        node_image=_ensure_node(parts, (*kubernetes, *calico, *istio, *shop), progress),
        leaf_image=_ensure_leaf(parts, progress),
        calico_node_image=calico[0].names[0],
        calico_cni_image=calico[1].names[0],
        istio_hub=hub,
        istio_tag=tag,
        shop_image=shop[0].names[0],
        client_image=shop[1].names[0],
        sentinel=sentinel_image(parts.python_tree),
        runner=runner_over(parts.runner_tree),
        kind=parts.kind / "kind",
        helm=parts.helm / "helm",
        calico_manifests=module_directory(versions.CALICO) / "manifests",
        istio_charts=module_directory(versions.ISTIO) / "manifests/charts",
    )


def build_parts(progress: Progress) -> Parts:
    """Build every part that isn't kept yet, one after the other: Go uses all cores by itself."""
    return Parts(
        kind=ensure_go_commands(recipes.kind(), progress),
        node_tree=ensure_rootfs(trees.node_tree(), progress),
        tools_tree=ensure_rootfs(trees.tools_tree(), progress),
        leaf_tree=ensure_rootfs(trees.leaf_tree(), progress),
        python_tree=ensure_rootfs(trees.python_tree(), progress),
        runner_tree=ensure_rootfs(runner_tree(), progress),
        envoy=ensure_envoy(progress),
        kubernetes=ensure_go_commands(recipes.kubernetes(), progress),
        etcd=ensure_go_commands(recipes.etcd(), progress),
        coredns=ensure_go_commands(recipes.coredns(), progress),
        pause=ensure_go_commands(recipes.own("pause"), progress),
        shop=ensure_go_commands(recipes.own("shop"), progress),
        helm=ensure_go_commands(recipes.helm(), progress),
        calico=ensure_go_commands(recipes.calico(), progress),
        istio=ensure_go_commands(recipes.istio(), progress),
    )


def _tagged(
    version: str, components: Callable[[str], tuple[Component, Component]]
) -> tuple[Component, Component]:
    """Components whose tag is their version and a key of what they are made of."""
    return components(f"{version}-{key_of([component.inputs for component in components('')])}")


def _ensure_node(parts: Parts, components: Sequence[Component], progress: Progress) -> str:
    base = node_base(parts)
    key = key_of([base.inputs, [component.inputs for component in components], IMPORT_SCRIPT])
    name = f"{LOCAL}/node:{versions.KUBERNETES_VERSION}-{key}"
    if not is_loaded(name):
        with progress.stage("Put the node image together"):
            load_images([base.image()])
            preload_node(name, base.names[0], [component.image() for component in components])
    return name


def node_base(parts: Parts) -> Component:
    """A kind node with Kubernetes and no images yet."""
    commands = [Entry(path=f"usr/bin/{name}", source=parts.kubernetes / name) for name in NODE_COMMANDS]
    version = Entry(path="kind/version", text=versions.KUBERNETES_VERSION, mode=0o644)
    return Component(
        names=(f"{LOCAL}/node-base:{versions.KUBERNETES_VERSION}",),
        base=parts.node_tree,
        entries=(*commands, version),
        # systemd looks for `container`, and ends on this signal: kind's images/base/Dockerfile
        config={
            "Env": ["container=docker", SEARCH_PATH],
            "StopSignal": "SIGRTMIN+3",
            "Entrypoint": NODE_ENTRYPOINT,
        },
    )


def _ensure_leaf(parts: Parts, progress: Progress) -> str:
    config = {"Env": [SEARCH_PATH], "Entrypoint": ["/usr/lib/frr/docker-start"]}
    name = f"{LOCAL}/leaf:{key_of([str(parts.leaf_tree), config])}"
    if not is_loaded(name):
        with progress.stage("Load the leaf router's image"):
            load_images([Image(names=(name,), layers=(parts.leaf_tree,), config=config)])
    return name


def _ensure_loadbalancer(parts: Parts, progress: Progress) -> None:
    """kind's load balancer, needed with several control-plane nodes only; its name is fixed in kind."""
    name = versions.KIND_LOADBALANCER_IMAGE
    if not is_loaded(name):
        with progress.stage("Load the load balancer's image"):
            entry = Entry(path="usr/local/bin/envoy", source=parts.envoy)
            load_images([Component(names=(name,), base=parts.tools_tree, entries=(entry,)).image()])

"""Official images, pulled by tag from their registries or from one that mirrors them under the same paths.

Commands, manifests and charts are not in a registry: they come from an image bundle of either profile.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from chaosext.model.paths import cache_home
from chaosext.nodes.image_names import REGISTRY, libraries_lock, shipped
from chaosext.testbed import versions
from chaosext.testbed.bed_choices import PodNetwork
from chaosext.testbed.cache import kept, key_of, log_file
from chaosext.testbed.commands import CommandFailed, run_command
from chaosext.testbed.delivery import runner_image_over, sentinel_image_over
from chaosext.testbed.kubernetes_releases import (
    DEFAULT_KUBERNETES,
    is_asked_for,
    release_of,
    version_to_build,
)
from chaosext.testbed.node_images import (
    ARCHIVE_NAME,
    IMPORT_SCRIPT,
    ImageSet,
    NetworkParts,
    commit_with_file,
    export_tree,
    image_field,
    is_loaded,
    preload_node_from,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.testbed.bundle import Bundle
    from chaosext.testbed.stage_progress import Progress

DOCKER_HUB, GITHUB = "docker.io", "ghcr.io"
ANSWER_TIMEOUT_S = 4.0
PULL_TIMEOUT_S = 1800.0
INFO_TIMEOUT_S = 20.0
RUNNER_TREE = "tree-runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialImage:
    """An image of a public registry, pinned by `digest` if its publisher states one."""

    path: str
    tag: str
    digest: str = ""
    home: str = DOCKER_HUB

    @property
    def name(self) -> str:
        """The name for manifests, independent of the registry that the image was pulled from."""
        return f"{self.home}/{self.path}:{self.tag}"

    def source(self, registry: str | None) -> str:
        """Return what to pull; from a mirror by tag, as mirrors often rewrite manifests, and so their digests."""
        if registry:
            return f"{registry}/{self.path}:{self.tag}"
        return f"{self.name}@{self.digest}" if self.digest else self.name


def node_of(kubernetes: str) -> OfficialImage:
    """Return kind's node image of a minor version ("1.33"), or of a patch release ("v1.33.6"). Raises `Refused`."""
    release = release_of(kubernetes)
    pinned = OfficialImage(path="kindest/node", tag=release.node_tag, digest=release.node_digest)
    if is_asked_for(pinned.tag, kubernetes):
        return pinned
    return replace(pinned, tag=version_to_build(kubernetes), digest="")


NODE = node_of(DEFAULT_KUBERNETES)
CALICO_NODE = OfficialImage(path="calico/node", tag=versions.CALICO_VERSION)
CALICO_CNI = OfficialImage(path="calico/cni", tag=versions.CALICO_VERSION)
ISTIO_PILOT = OfficialImage(path="istio/pilot", tag=versions.ISTIO_RELEASE)
ISTIO_PROXY = OfficialImage(path="istio/proxyv2", tag=versions.ISTIO_RELEASE)
LEAF = OfficialImage(path="frrouting/frr", tag=versions.FRR_IMAGE_TAG)
LOADBALANCER = OfficialImage(path="envoyproxy/envoy", tag=versions.KIND_LOADBALANCER_IMAGE.rsplit(":", 1)[1])
BUSYBOX = OfficialImage(path="library/busybox", tag=versions.BUSYBOX_IMAGE_TAG)
PYTHON = OfficialImage(path="library/python", tag=versions.PYTHON_IMAGE_TAG)
FLANNEL = OfficialImage(path="flannel-io/flannel", tag=versions.FLANNEL_VERSION, home=GITHUB)
FLANNEL_CNI = OfficialImage(
    path="flannel-io/flannel-cni-plugin", tag=versions.FLANNEL_CNI_IMAGE_TAG, home=GITHUB
)
KUBE_ROUTER = OfficialImage(path="cloudnativelabs/kube-router", tag=versions.KUBE_ROUTER_VERSION)
COMMON_IMAGES = (
    CALICO_NODE,
    CALICO_CNI,
    ISTIO_PILOT,
    ISTIO_PROXY,
    LEAF,
    LOADBALANCER,
    BUSYBOX,
    PYTHON,
)
"""Those that every testbed needs, whatever its version of Kubernetes."""
OFFICIAL_IMAGES = (NODE, *COMMON_IMAGES)
NETWORK_IMAGES: Mapping[PodNetwork, tuple[OfficialImage, ...]] = {
    PodNetwork.FLANNEL: (FLANNEL, FLANNEL_CNI),
    PodNetwork.KUBE_ROUTER: (KUBE_ROUTER,),
}
"""What a network needs beyond `OFFICIAL_IMAGES`; pulled only for that network."""


def registry_answers(registry: str | None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Return whether the registry (`HOST:PORT`; None: Docker Hub) answers its API; 401 is an answer, too."""
    if registry is None:
        return any(_answers(url, timeout_s) for url in hub_addresses())
    return _answers(f"https://{registry}/v2/", timeout_s) or _answers(f"http://{registry}/v2/", timeout_s)


def hub_addresses() -> tuple[str, ...]:
    """Return the API URLs of Docker Hub and its mirrors, by the Docker engine; () if it does not answer."""
    template = '{{.IndexServerAddress}} {{join .RegistryConfig.Mirrors " "}}'
    try:
        said = run_command(["docker", "info", "--format", template], timeout_s=INFO_TIMEOUT_S).stdout
    except CommandFailed:
        return ()
    return tuple(dict.fromkeys(urljoin(url, "/v2/") for url in said.split()))


def pull_images(
    tools: Bundle,
    progress: Progress,
    *,
    registry: str | None,
    kubernetes: str = DEFAULT_KUBERNETES,
    network: PodNetwork = PodNetwork.CALICO_BGP,
) -> ImageSet:
    """Pull missing images, put the in-cluster images into the node image, and return the names of all.

    Raises `CommandFailed` if an image can't be pulled, `Refused` for a version that is not supported.
    """
    node, own = node_of(kubernetes), NETWORK_IMAGES.get(network, ())
    for image in (node, *COMMON_IMAGES, *own):
        _ensure_pulled(image, registry, progress)
    shop_image = _ensure_shop(tools)
    in_cluster = (CALICO_NODE, CALICO_CNI, ISTIO_PILOT, ISTIO_PROXY, *own)
    preloaded = (*(image.name for image in in_cluster), shop_image)
    return ImageSet(
        source="registry",
        kubernetes=node.tag,
        node_image=_ensure_node(node, preloaded, progress),
        leaf_image=LEAF.name,
        calico_node_image=CALICO_NODE.name,
        calico_cni_image=CALICO_CNI.name,
        istio_hub=ISTIO_PILOT.name.rsplit("/", 1)[0],
        istio_tag=ISTIO_PILOT.tag,
        shop_image=shop_image,
        client_image=shop_image,
        sentinel=sentinel_image_over(_tree_of(PYTHON)),
        runner=runner_image_over(_runner_tree(progress)),
        kind=tools.file("bin/kind"),
        helm=tools.file("bin/helm"),
        customers=tools.file("bin/customers"),
        networks=NetworkParts(
            flannel_image=FLANNEL.name,
            flannel_cni_image=FLANNEL_CNI.name,
            kube_router_image=KUBE_ROUTER.name,
            files=tools.path,
        ),
        calico_manifests=tools.file("calico"),
        istio_charts=tools.file("istio"),
    )


def _answers(url: str, timeout_s: float) -> bool:
    """Return whether `url` answers within `timeout_s` seconds in total, even if single bytes arrive slowly."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    asking = threading.Thread(target=lambda: answers.put(_ask(url, timeout_s)), name="registry", daemon=True)
    asking.start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return False


def _ask(url: str, timeout_s: float) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):  # noqa: S310 (http and https only, see the callers)
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401
    except (OSError, ValueError):
        return False


def _ensure_pulled(image: OfficialImage, registry: str | None, progress: Progress) -> None:
    """Pull `image` unless it is here; an image of that name without a digest was built here and does not count."""
    if is_loaded(image.name) and image_field(image.name, "{{len .RepoDigests}}") != "0":
        return
    source = image.source(registry)
    with progress.stage(f"Pull {source}"):
        run_command(["docker", "pull", "--quiet", source], timeout_s=PULL_TIMEOUT_S)
        run_command(["docker", "tag", source, image.name], timeout_s=60)


def _ensure_shop(tools: Bundle) -> str:
    """Return the sample application's image on top of BusyBox, whose shell and wget help to inspect it."""
    name = f"{REGISTRY}/shop:{key_of([tools.digest('bin/shop'), image_field(BUSYBOX.name, '{{.Id}}')])}"
    if not is_loaded(name):
        changes = ('ENTRYPOINT ["/usr/local/bin/shop"]', 'CMD ["serve"]', "USER 65532:65532")
        commit_with_file(name, BUSYBOX.name, tools.file("bin/shop"), "/usr/local/bin/shop", changes)
    return name


def _tree_of(image: OfficialImage) -> Path:
    """Export all files of a pulled image into one cached tar file."""
    inputs = image_field(image.name, "{{.Id}}")
    name = f"tree-{image.path.rsplit('/', 1)[-1]}"
    return kept(name, inputs, lambda target: export_tree(image.name, target / "tree.tar")) / "tree.tar"


def _runner_tree(progress: Progress) -> Path:
    """Build the runner image's base by deploy/runner/Dockerfile, as one cached tar file."""
    recipe = shipped("deploy/runner/Dockerfile")
    inputs = [image_field(PYTHON.name, "{{.Id}}"), recipe.read_text(), libraries_lock()]
    tree = kept(
        RUNNER_TREE,
        inputs,
        lambda target: _build_runner_tree(recipe, target),
        lambda: progress.stage("Assemble the base of the runner's image"),
    )
    return tree / "tree.tar"


def _build_runner_tree(recipe: Path, target: Path) -> None:
    name = f"{REGISTRY}/{RUNNER_TREE}"
    with tempfile.TemporaryDirectory(dir=cache_home()) as context:
        Path(context, "requirements.lock").write_text(libraries_lock())
        argv: list[str | Path] = [
            "docker", "build", "--quiet", "--target", "base", *_base_arguments(PYTHON),
            "--file", recipe, "--tag", name, context,
        ]  # fmt: skip
        run_command(argv, timeout_s=PULL_TIMEOUT_S, log=log_file(RUNNER_TREE))
    export_tree(name, target / "tree.tar")


def _base_arguments(image: OfficialImage) -> list[str]:
    """Return the build arguments that make a Dockerfile of chaosext use exactly the image that was pulled."""
    repository, _, digest = image_field(image.name, "{{index .RepoDigests 0}}").partition("@sha256:")
    return ["--build-arg", f"PYTHON={repository}", "--build-arg", f"PYTHON_SHA256={digest}"]


def _ensure_node(node: OfficialImage, preloaded: tuple[str, ...], progress: Progress) -> str:
    ids = [image_field(name, "{{.Id}}") for name in (node.name, *preloaded)]
    name = f"{REGISTRY}/node:{node.tag}-{key_of([ids, preloaded, IMPORT_SCRIPT])}"
    if not is_loaded(name):
        with (
            progress.stage("Assemble the node image"),
            tempfile.TemporaryDirectory(dir=cache_home()) as aside,
        ):
            archive = Path(aside) / ARCHIVE_NAME
            run_command(["docker", "save", "--output", archive, *preloaded], timeout_s=PULL_TIMEOUT_S)
            preload_node_from(name, node.name, Path(aside))
    return name

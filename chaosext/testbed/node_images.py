"""The testbed's images in the host's Docker engine, and the tools and manifests that `testbed up` needs."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chaosext.model.paths import cache_home
from chaosext.nodes.image_names import REGISTRY
from chaosext.testbed import versions
from chaosext.testbed.archive import Image, digest_of, write_archive
from chaosext.testbed.cache import key_of
from chaosext.testbed.commands import CommandFailed, run_command
from chaosext.testbed.delivery import runner_image_over, sentinel_image_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.testbed.bundle import Bundle
    from chaosext.testbed.stage_progress import Progress

LOAD_TIMEOUT_S = 600.0
ARCHIVE_NAME = "images.tar"
NODE_ENTRYPOINT = ["/usr/local/bin/entrypoint", "/sbin/init"]
CUSTOMERS = "/usr/local/bin/customers"

# Like kind's own node image build (pkg/build/nodeimage): containerd runs once and imports the archive. Each
# node unpacks the layers itself, so that /var, which is copied into a volume per node, stays small.
IMPORT_SCRIPT = f"""
set -eu
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
containerd >/tmp/containerd.log 2>&1 &
for _ in $(seq 100); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
ctr --namespace=k8s.io images import --all-platforms --no-unpack /mnt/{ARCHIVE_NAME} >/tmp/import.log 2>&1 || {{
  cat /tmp/containerd.log /tmp/import.log >&2
  exit 1
}}
kill %1
wait || true
rm -rf /run/containerd /tmp/containerd.log /tmp/import.log
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkParts:
    """What networks other than Calico are made of: image names, and files by their paths in an image bundle."""

    flannel_image: str
    flannel_cni_image: str
    kube_router_image: str
    files: Path

    def plugin(self, name: str) -> Path:
        """Return the file of a CNI plugin."""
        return self.files / "bin" / name

    def manifest(self, name: str) -> str:
        """Return the text of an upstream manifest."""
        return (self.files / name).read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The images by the names that manifests must use, the commands, and the directories of upstream's manifests.

    `node_image` already contains every in-cluster image except the sentinel's and the runner's (each node's
    containerd has them at start): use `imagePullPolicy: IfNotPresent`. These two are loaded into running
    nodes. `leaf_image` is in the host's Docker engine, and so is the image of kind's load balancer, whose
    name kind defines.

    The leaf has its own entrypoint: mount or copy `/etc/frr/frr.conf` and `/etc/frr/daemons`, then `vtysh`
    works in it. `shop_image` serves HTTP; see `hack/images/cmd/shop` for its flags and paths.
    """

    source: Literal["registry", "bundle"]
    kubernetes: str
    """The version of Kubernetes in `node_image`."""
    node_image: str
    leaf_image: str
    calico_node_image: str
    calico_cni_image: str
    istio_hub: str
    istio_tag: str
    shop_image: str
    client_image: str
    sentinel: Image
    runner: Image
    kind: Path
    helm: Path
    customers: Path
    """The command of the load balancer's customers: see `hack/images/cmd/customers`."""
    networks: NetworkParts
    calico_manifests: Path
    """Calico's `manifests/` directory, reduced to calico.yaml; read-only."""
    istio_charts: Path
    """Istio's `manifests/charts/` directory, reduced to base and istio-control/istio-discovery; read-only."""

    @property
    def istio_pilot_image(self) -> str:
        """istiod's image, as Istio's chart composes it from hub and tag."""
        return f"{self.istio_hub}/pilot:{self.istio_tag}"

    @property
    def istio_proxy_image(self) -> str:
        """The sidecar's image, as Istio's injection template composes it."""
        return f"{self.istio_hub}/proxyv2:{self.istio_tag}"

    @property
    def delivered(self) -> dict[str, Image]:
        """chaosext's own images by component; not in the node image, as they change with every source line."""
        return {"sentinel": self.sentinel, "runner": self.runner}

    @property
    def in_cluster_images(self) -> tuple[str, ...]:
        """Images of Pods other than kubeadm's own and the network's."""
        return (
            self.istio_pilot_image,
            self.istio_proxy_image,
            self.shop_image,
            self.client_image,
        )


def load_bundle(bundle: Bundle, progress: Progress) -> ImageSet:
    """Load the images that the Docker engine lacks, and return the names of all. Raises `CommandFailed`."""
    _ensure_loadbalancer(bundle, progress)
    hub, tag = bundle.manifest.istio
    return ImageSet(
        source="bundle",
        kubernetes=bundle.manifest.kubernetes,
        node_image=_ensure_node(bundle, progress),
        leaf_image=_ensure_leaf(bundle, progress),
        calico_node_image=bundle.image("calico-node").names[0],
        calico_cni_image=bundle.image("calico-cni").names[0],
        istio_hub=hub,
        istio_tag=tag,
        shop_image=bundle.image("shop").names[0],
        client_image=bundle.image("client").names[0],
        sentinel=sentinel_image_over(bundle.file("trees/python.tar")),
        runner=runner_image_over(bundle.file("trees/runner.tar")),
        kind=bundle.file("bin/kind"),
        helm=bundle.file("bin/helm"),
        customers=bundle.file("bin/customers"),
        networks=NetworkParts(
            flannel_image=bundle.image("flannel").names[0],
            flannel_cni_image=bundle.image("flannel-cni").names[0],
            kube_router_image=bundle.image("kube-router").names[0],
            files=bundle.path,
        ),
        calico_manifests=bundle.file("calico"),
        istio_charts=bundle.file("istio"),
    )


def ensure_entry_image(images: ImageSet, progress: Progress) -> str:
    """Return the image of the load balancer and its customers: kind's Envoy image with chaosext's `customers`.

    It is built unless the Docker engine has it. Raises `CommandFailed`.
    """
    base = versions.KIND_LOADBALANCER_IMAGE
    name = f"{REGISTRY}/entry:{key_of([digest_of(images.customers), image_field(base, '{{.Id}}')])}"
    if not is_loaded(name):
        with progress.stage("Assemble the load balancer's image"):
            commit_with_file(name, base, images.customers, CUSTOMERS, ("ENTRYPOINT []", "CMD []"))
    return name


def is_loaded(name: str) -> bool:
    """Return whether the engine has an image called `name`."""
    try:
        run_command(["docker", "image", "inspect", "--format", "{{.Id}}", name], timeout_s=30)
    except CommandFailed as error:
        if error.exit_code_of_command is None:
            raise
        return False
    return True


def image_field(name: str, template: str) -> str:
    """Return one field of the engine's image called `name`, by a Go template (`{{.Id}}`)."""
    argv = ["docker", "image", "inspect", "--format", template, name]
    return run_command(argv, timeout_s=30).stdout.strip()


def commit_with_file(name: str, base: str, source: Path, path: str, changes: Sequence[str]) -> None:
    """Create the image `name`: `base` with the file `source` at `path`, and `changes` as Dockerfile instructions."""
    with _created(base) as container, tempfile.TemporaryDirectory() as aside:
        # Include the parent directories: `docker cp` does not create them.
        tree = Path(aside) / path.lstrip("/")
        tree.parent.mkdir(parents=True)
        shutil.copy(source, tree)
        run_command(["docker", "cp", f"{aside}/.", f"{container}:/"], timeout_s=60)
        options = [word for change in changes for word in ("--change", change)]
        run_command(["docker", "commit", *options, container, name], timeout_s=60)


def export_tree(image: str, target: Path) -> None:
    """Write all files of `image` into the tar file `target`."""
    with _created(image) as container:
        run_command(["docker", "export", "--output", target, container], timeout_s=LOAD_TIMEOUT_S)


def load_image(image: Image, name: str) -> None:
    """Load `image` into the engine under the name `name`."""
    with tempfile.TemporaryDirectory(dir=cache_home()) as aside:
        archive = Path(aside) / ARCHIVE_NAME
        write_archive(archive, [Image(names=(name,), layers=image.layers, config=image.config)])
        run_command(["docker", "load", "--quiet", "--input", archive], timeout_s=LOAD_TIMEOUT_S)


def preload_node(name: str, base: str, images: Sequence[Image]) -> None:
    """Create the node image `name`: the node image `base` with `images` in its containerd."""
    with tempfile.TemporaryDirectory(dir=cache_home()) as aside:
        write_archive(Path(aside) / ARCHIVE_NAME, images)
        preload_node_from(name, base, Path(aside))


def preload_node_from(name: str, base: str, directory: Path) -> None:
    """Like `preload_node`, but from the archive `images.tar` in `directory`."""
    builder = f"chaosext-build-{name.rsplit(':', 1)[-1]}"
    run_command(["docker", "rm", "--force", builder], timeout_s=60)
    try:
        argv = [
            "docker", "run", "--name", builder, "--security-opt", "seccomp=unconfined", "--network", "none",
            "--volume", f"{directory}:/mnt:ro", "--entrypoint", "bash", base, "-c", IMPORT_SCRIPT,
        ]  # fmt: skip
        run_command(argv, timeout_s=LOAD_TIMEOUT_S)
        entrypoint = f"ENTRYPOINT {json.dumps(NODE_ENTRYPOINT)}"
        commit = ["docker", "commit", "--change", entrypoint, "--change", "CMD []", builder, name]
        run_command(commit, timeout_s=LOAD_TIMEOUT_S)
    finally:
        run_command(["docker", "rm", "--force", "--volumes", builder], timeout_s=60)


def _ensure_node(bundle: Bundle, progress: Progress) -> str:
    key = key_of([bundle.image_key("node-base", *bundle.node_images), IMPORT_SCRIPT])
    version = bundle.manifest.kubernetes
    name = f"{REGISTRY}/node:{version}-{key}"
    if not is_loaded(name):
        with progress.stage("Assemble the node image"):
            base = f"{REGISTRY}/node-base:{version}-{key}"
            load_image(bundle.image("node-base"), base)
            preload_node(name, base, [bundle.image(role) for role in bundle.node_images])
    return name


def _ensure_leaf(bundle: Bundle, progress: Progress) -> str:
    name = f"{REGISTRY}/leaf:{bundle.image_key('leaf')}"
    if not is_loaded(name):
        with progress.stage("Load the leaf router's image"):
            load_image(bundle.image("leaf"), name)
    return name


def _ensure_loadbalancer(bundle: Bundle, progress: Progress) -> None:
    """Load kind's load balancer, which only several control-plane nodes need; kind defines its name."""
    name = versions.KIND_LOADBALANCER_IMAGE
    if not is_loaded(name):
        with progress.stage("Load the load balancer's image"):
            load_image(bundle.image("load-balancer"), name)


@contextmanager
def _created(image: str) -> Iterator[str]:
    """Yield a container of `image` that never runs, and remove it afterwards."""
    container = run_command(["docker", "create", image, "true"], timeout_s=60).stdout.strip()
    try:
        yield container
    finally:
        run_command(["docker", "rm", "--force", "--volumes", container], timeout_s=60)

"""Builds the parts of an image bundle and puts them together; only what changed is built again.

No Docker Engine is needed: images are written as layers (tar files), and `testbed up` loads them.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import chaosext
from chaosext.model.errors import Refused
from chaosext.model.paths import cache_home
from chaosext.nodes.image_names import REGISTRY
from chaosext.testbed import versions
from chaosext.testbed.archive import SEARCH_PATH, Component, Image, LayerEntry, digest_of
from chaosext.testbed.bundle import (
    CNI_PLUGINS,
    FLANNEL_MANIFEST,
    KUBE_ROUTER_MANIFEST,
    MANIFEST,
    PREFIX,
    SCHEMA,
    BundleFile,
    BundleImage,
    Manifest,
    manifest_bytes,
    read_bundle,
    wanted_versions,
)
from chaosext.testbed.cache import PARTIAL, kept, key_of, writable_cache
from chaosext.testbed.node_images import NODE_ENTRYPOINT
from hack.images import debian, pypi, recipes
from hack.images.components import (
    calico_components,
    istio_components,
    kubernetes_components,
    shop_components,
)
from hack.images.go import GO_VERSION, ensure_go, ensure_go_commands, module_directory
from hack.images.network_components import flannel_components, kube_router_components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from chaosext.testbed.bundle import Bundle, Profile
    from chaosext.testbed.stage_progress import Progress

NODE_COMMANDS = ("kubeadm", "kubelet", "kubectl")  # where kubelet.service and kind look for them: /usr/bin
CHARTS = ("base", "istio-control/istio-discovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Directories of built commands that a bundle of either profile holds."""

    kind: Path
    helm: Path
    shop: Path
    customers: Path
    cni_plugins: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What images are put together from: directories of built commands, Envoy's binary, and trees as tar files.

    `version` is Kubernetes'.
    """

    version: str
    kubernetes: Path
    etcd: Path
    coredns: Path
    pause: Path
    shop: Path
    calico: Path
    flanneld: Path
    flannel_cni: Path
    kube_router: Path
    cni_plugins: Path
    istio: Path
    envoy: Path
    node_tree: Path
    tools_tree: Path
    leaf_tree: Path
    python_tree: Path
    runner_tree: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a bundle shall hold: files by their path in it, images by role, versions by component."""

    profile: Profile
    files: Mapping[str, Path]
    versions: Mapping[str, str]
    images: Mapping[str, Image] = field(default_factory=dict)

    @property
    def inputs(self) -> object:
        """Everything that decides what comes out; kept files and Go modules carry their key in their path."""
        images = {
            role: [image.names, [str(layer) for layer in image.layers], dict(image.config)]
            for role, image in self.images.items()
        }
        files = {name: str(path) for name, path in self.files.items()}
        return [SCHEMA, chaosext.__version__, self.profile, dict(self.versions), files, images]


def build_bundle(
    profile: Profile, progress: Progress, *, kubernetes: str = versions.KUBERNETES_VERSION
) -> Path:
    """The bundle's directory in the user's cache, built now unless it is kept from before.

    `kubernetes` is the version that a bundle of profile `full` runs; one of profile `tools` serves them all.

    It becomes the newest bundle, which is the one that `testbed up` takes. Raises `Refused` without Go, and for images
    when not root or not on Debian; `CommandFailed`, naming its log, when a build fails.
    """
    with writable_cache():
        ensure_go(progress)
        contents = _full(progress, kubernetes) if profile == "full" else _tools(build_tools(progress))
        path = kept(
            f"{PREFIX}{profile}",
            contents.inputs,
            lambda target: write_bundle(target, contents),
            lambda: progress.stage(f"Put the image bundle together (profile {profile})"),
        )
        os.utime(path)
    return path


def build_tools(progress: Progress) -> Tools:
    """Build every tool that isn't kept yet."""
    return Tools(
        kind=ensure_go_commands(recipes.kind(), progress),
        helm=ensure_go_commands(recipes.helm(), progress),
        shop=ensure_go_commands(recipes.own("shop"), progress),
        customers=ensure_go_commands(recipes.own("customers"), progress),
        cni_plugins=ensure_go_commands(recipes.cni_plugins(), progress),
    )


def build_parts(progress: Progress, version: str = versions.KUBERNETES_VERSION) -> Parts:
    """Build every part that isn't kept yet, one after the other: Go uses all cores by itself."""
    return Parts(
        version=version,
        node_tree=debian.ensure_rootfs(debian.node_tree(), progress),
        tools_tree=debian.ensure_rootfs(debian.tools_tree(), progress),
        leaf_tree=debian.ensure_rootfs(debian.leaf_tree(), progress),
        python_tree=debian.ensure_rootfs(debian.python_tree(), progress),
        runner_tree=debian.ensure_rootfs(debian.runner_tree(), progress),
        envoy=pypi.ensure_envoy(progress),
        kubernetes=ensure_go_commands(recipes.kubernetes(version), progress),
        etcd=ensure_go_commands(recipes.etcd(version), progress),
        coredns=ensure_go_commands(recipes.coredns(), progress),
        pause=ensure_go_commands(recipes.own("pause"), progress),
        shop=ensure_go_commands(recipes.own("shop"), progress),
        calico=ensure_go_commands(recipes.calico(), progress),
        flanneld=ensure_go_commands(recipes.flannel(), progress),
        flannel_cni=ensure_go_commands(recipes.flannel_cni(), progress),
        kube_router=ensure_go_commands(recipes.kube_router(), progress),
        cni_plugins=ensure_go_commands(recipes.cni_plugins(), progress),
        istio=ensure_go_commands(recipes.istio(), progress),
    )


def images_of(parts: Parts) -> dict[str, Image]:
    """All images by their role, with their layers written."""
    tools = parts.tools_tree
    kubernetes = kubernetes_components(
        kubernetes=parts.kubernetes,
        etcd=parts.etcd,
        coredns=parts.coredns,
        pause=parts.pause,
        tools=tools,
        version=parts.version,
    )
    calico = tagged(
        versions.CALICO_VERSION, lambda tag: calico_components(calico=parts.calico, tools=tools, tag=tag)
    )
    flannel = tagged(
        versions.FLANNEL_VERSION,
        lambda tag: flannel_components(
            flanneld=parts.flanneld, flannel_cni=parts.flannel_cni, tools=tools, tag=tag
        ),
    )
    kube_router = tagged(
        versions.KUBE_ROUTER_VERSION,
        lambda tag: kube_router_components(
            kube_router=parts.kube_router, cni_plugins=parts.cni_plugins, tools=tools, tag=tag
        ),
    )
    istio = tagged(
        versions.ISTIO_VERSION,
        lambda tag: istio_components(istio=parts.istio, envoy=parts.envoy, tools=tools, tag=tag),
    )
    shop = tagged(versions.SHOP_VERSION, lambda tag: shop_components(shop=parts.shop, tools=tools, tag=tag))
    components = {
        "node-base": node_base(parts),
        "load-balancer": load_balancer(parts),
        **{each.names[0].rsplit("/", 1)[1].split(":")[0]: each for each in kubernetes},
        **dict(zip(("calico-node", "calico-cni"), calico, strict=True)),
        **dict(zip(("flannel", "flannel-cni"), flannel, strict=True)),
        **dict(zip(("kube-router",), kube_router, strict=True)),
        **dict(zip(("istio-pilot", "istio-proxy"), istio, strict=True)),
        **dict(zip(("shop", "client"), shop, strict=True)),
    }
    return {"leaf": leaf(parts), **{role: each.image() for role, each in components.items()}}


def tagged(version: str, components: Callable[[str], tuple[Component, ...]]) -> tuple[Component, ...]:
    """Components whose tag is their version and a key of what they are made of."""
    return components(f"{version}-{key_of([component.inputs for component in components('')])}")


def node_base(parts: Parts) -> Component:
    """A kind node with Kubernetes and no images yet."""
    commands = [LayerEntry(path=f"usr/bin/{name}", source=parts.kubernetes / name) for name in NODE_COMMANDS]
    version = LayerEntry(path="kind/version", text=parts.version, mode=0o644)
    return Component(
        names=(f"{REGISTRY}/node-base:{parts.version}",),
        base=parts.node_tree,
        entries=(*commands, version),
        # systemd looks for `container`, and ends on this signal: kind's images/base/Dockerfile
        config={
            "Env": ["container=docker", SEARCH_PATH],
            "StopSignal": "SIGRTMIN+3",
            "Entrypoint": NODE_ENTRYPOINT,
        },
    )


def leaf(parts: Parts) -> Image:
    """The BGP switch, with the entrypoint that frr-docker has."""
    config = {"Env": [SEARCH_PATH], "Entrypoint": ["/usr/lib/frr/docker-start"]}
    return Image(names=(f"{REGISTRY}/leaf",), layers=(parts.leaf_tree,), config=config)


def load_balancer(parts: Parts) -> Component:
    """Envoy in front of several control-plane nodes, under the name that is fixed in kind."""
    entry = LayerEntry(path="usr/local/bin/envoy", source=parts.envoy)
    return Component(names=(versions.KIND_LOADBALANCER_IMAGE,), base=parts.tools_tree, entries=(entry,))


def write_bundle(target: Path, contents: Contents) -> None:
    """Fill the directory `target`; what is in the user's cache already is linked, not copied."""
    digest = cache(digest_of)
    layers = {layer for image in contents.images.values() for layer in image.layers}
    places = {layer: f"layers/{digest(layer)}.tar" for layer in layers}
    files = {**contents.files, **{name: layer for layer, name in places.items()}}
    for name, source in files.items():
        _place(source, target / name)
    manifest = Manifest(
        schema=SCHEMA,
        profile=contents.profile,
        chaosext=chaosext.__version__,
        architecture=versions.ARCHITECTURE,
        versions=dict(contents.versions),
        files={
            name: BundleFile(bytes=source.stat().st_size, sha256=digest(source))
            for name, source in files.items()
        },
        images={
            role: BundleImage(
                names=image.names,
                layers=tuple(places[layer] for layer in image.layers),
                config=dict(image.config),
            )
            for role, image in contents.images.items()
        },
    )
    (target / MANIFEST).write_bytes(manifest_bytes(manifest))
    read_bundle(target)


def refuse_output(output: Path) -> None:
    """Raise `Refused` where `export_bundle` would: asked before an hour of building."""
    if os.path.lexists(output):
        raise Refused(f"--output {output} exists", "remove it, or name another path")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(output, error) from error


def export_bundle(bundle: Bundle, output: Path) -> None:
    """Copy the bundle to `output`: a directory, or a tar file where that ends in .tar. Raises `Refused`."""
    refuse_output(output)
    aside = output.with_name(f"{output.name}{PARTIAL}")
    try:
        _remove(aside)
        if output.suffix == ".tar":
            _write_tar(bundle, aside)
        else:
            shutil.copytree(bundle.path, aside)
        aside.rename(output)
    except OSError as error:
        _remove(aside)
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> Refused:
    return Refused(f"--output {output} cannot be written: {error.strerror or error}", "name another path")


def _remove(path: Path) -> None:
    """Remove a file, or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _full(progress: Progress, kubernetes: str) -> Contents:
    parts = build_parts(progress, kubernetes)  # first, as it is what may be refused
    tools = _tools(build_tools(progress))
    trees = {"trees/python.tar": parts.python_tree, "trees/runner.tar": parts.runner_tree}
    made_of = {
        "coredns": recipes.COREDNS.version,
        "debian": debian.SUITE,
        "envoy": pypi.ENVOY_VERSION,
        "etcd": recipes.kubeadm_tags(kubernetes).etcd_version,
        "kubernetes": kubernetes,
        "go": GO_VERSION,
    }
    with progress.stage("Write the layers of the images"):
        images = images_of(parts)
    return Contents(
        profile="full",
        files={**tools.files, **trees},
        versions={**wanted_versions("full"), **made_of},
        images=images,
    )


def _tools(tools: Tools) -> Contents:
    calico, istio = module_directory(recipes.CALICO), module_directory(recipes.ISTIO)
    flannel, kube_router = module_directory(recipes.FLANNEL), module_directory(recipes.KUBE_ROUTER)
    directories = {
        "kind": tools.kind,
        "helm": tools.helm,
        "shop": tools.shop,
        "customers": tools.customers,
        **dict.fromkeys(CNI_PLUGINS, tools.cni_plugins),
    }
    files = {
        **{f"bin/{name}": directory / name for name, directory in directories.items()},
        "calico/calico.yaml": calico / "manifests/calico.yaml",
        FLANNEL_MANIFEST: flannel / "Documentation/kube-flannel.yml",
        KUBE_ROUTER_MANIFEST: kube_router / "daemonset/kubeadm-kuberouter.yaml",
        **dict(_chart_files(istio / "manifests/charts")),
    }
    return Contents(profile="tools", files=files, versions=wanted_versions("tools"))


def _chart_files(charts: Path) -> Iterator[tuple[str, Path]]:
    for chart in CHARTS:
        for path in sorted((charts / chart).rglob("*")):
            if path.is_file():
                yield f"istio/{path.relative_to(charts)}", path


def _place(source: Path, target: Path) -> None:
    """Link `source` where it is a kept build, which never changes; copy what belongs to Go's module cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_relative_to(cache_home()):
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without hard links
            shutil.copy(source, target)
    else:
        shutil.copyfile(source, target)


def _write_tar(bundle: Bundle, target: Path) -> None:
    """The manifest first, then the files in order, with times and owners that say nothing of this machine."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in (MANIFEST, *sorted(bundle.manifest.files)):
            with bundle.file(name).open("rb") as content:
                info = tarfile.TarInfo(name)
                info.size = os.fstat(content.fileno()).st_size
                info.mode = 0o755 if name.startswith("bin/") else 0o644
                archive.addfile(info, content)

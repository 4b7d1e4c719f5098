"""The images that run inside the nodes, each as layers over a Debian tree or over nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.nodes.image_names import REGISTRY
from chaosext.testbed import versions
from chaosext.testbed.archive import SEARCH_PATH, Component, LayerEntry
from hack.images import recipes
from hack.images.go import module_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIND_PAUSE_TAG = "3.10"  # of the sandbox that kind's containerd config names
ISTIO_USER = 1337  # istio.io/istio, docker/Dockerfile.base: the sidecar's own traffic is told by this user


def kubernetes_components(
    *,
    kubernetes: Path,
    etcd: Path,
    coredns: Path,
    pause: Path,
    tools: Path,
    version: str = versions.KUBERNETES_VERSION,
) -> tuple[Component, ...]:
    """The control plane's images and kube-proxy, by the names that kubeadm of that version asks for."""
    registry = "registry.k8s.io"
    static = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    tags = recipes.kubeadm_tags(version)
    return (
        *(_binary(f"{registry}/{name}:{version}", kubernetes / name) for name in static),
        _binary(f"{registry}/kube-proxy:{version}", kubernetes / "kube-proxy", base=tools),
        _binary(f"{registry}/etcd:{tags.etcd}", etcd / "etcd", base=tools),
        Component(
            names=(f"{registry}/coredns/coredns:{tags.coredns}",),
            entries=(LayerEntry(path="coredns", source=coredns / "coredns"),),
            config={"Entrypoint": ["/coredns"]},
        ),
        Component(
            names=tuple(f"{registry}/pause:{tag}" for tag in dict.fromkeys((KIND_PAUSE_TAG, tags.pause))),
            entries=(LayerEntry(path="pause", source=pause / "pause"),),
            config={"Entrypoint": ["/pause"]},
        ),
    )


def calico_components(*, calico: Path, tools: Path, tag: str) -> tuple[Component, Component]:
    """calico-node (Felix, confd and BIRD under runit) and the CNI plugin with its installer."""
    node = Component(
        names=(f"{REGISTRY}/calico/node:{tag}",),
        base=tools,
        entries=(
            LayerEntry(path="usr/bin/calico-node", source=calico / "calico-node"),
            *_calico_files(module_directory(recipes.CALICO)),
        ),
        config={"Env": [SEARCH_PATH, "SVDIR=/etc/service/enabled"], "Cmd": ["start_runit"]},
    )
    cni = Component(
        names=(f"{REGISTRY}/calico/cni:{tag}",),
        entries=(
            LayerEntry(path="opt/cni/bin/calico", source=calico / "calico"),
            LayerEntry(path="opt/cni/bin/calico-ipam", hardlink="opt/cni/bin/calico"),
            LayerEntry(path="opt/cni/bin/install", source=calico / "install"),
        ),
        config={"WorkingDir": "/opt/cni/bin", "Cmd": ["/opt/cni/bin/install"]},
    )
    return node, cni


def istio_components(*, istio: Path, envoy: Path, tools: Path, tag: str) -> tuple[Component, Component]:
    """istiod and the sidecar (Dockerfile.pilot and Dockerfile.proxyv2 in Istio's pilot/docker)."""
    bootstrap = module_directory(recipes.ISTIO) / "tools/packaging/common/envoy_bootstrap.json"
    pilot = Component(
        names=(f"{REGISTRY}/istio/pilot:{tag}",),
        base=tools,
        entries=(LayerEntry(path="usr/local/bin/pilot-discovery", source=istio / "pilot-discovery"),),
        config={"User": f"{ISTIO_USER}:{ISTIO_USER}", "Entrypoint": ["/usr/local/bin/pilot-discovery"]},
    )
    proxy = Component(
        names=(f"{REGISTRY}/istio/proxyv2:{tag}",),
        base=tools,
        entries=(
            LayerEntry(path="usr/local/bin/envoy", source=envoy),
            LayerEntry(path="usr/local/bin/pilot-agent", source=istio / "pilot-agent"),
            LayerEntry(path="var/lib/istio/envoy/envoy_bootstrap_tmpl.json", source=bootstrap, mode=0o644),
            LayerEntry(path="etc/istio/proxy", mode=0o777, uid=ISTIO_USER),
            LayerEntry(path="var/lib/istio/data", mode=0o777, uid=ISTIO_USER),
        ),
        config={"User": f"{ISTIO_USER}:{ISTIO_USER}", "Entrypoint": ["/usr/local/bin/pilot-agent"]},
    )
    return pilot, proxy


def shop_components(*, shop: Path, tools: Path, tag: str) -> tuple[Component, Component]:
    """The sample application: the services on nothing, the client with a shell and curl to look around with."""
    entry = LayerEntry(path="usr/local/bin/shop", source=shop / "shop")
    command = {"Entrypoint": ["/usr/local/bin/shop"], "User": "65532:65532"}
    return (
        Component(names=(f"{REGISTRY}/shop:{tag}",), entries=(entry,), config={**command, "Cmd": ["serve"]}),
        Component(
            names=(f"{REGISTRY}/client:{tag}",),
            base=tools,
            entries=(entry,),
            config={**command, "Cmd": ["client"]},
        ),
    )


def without_tunnels(template: str) -> str:
    """A BIRD template of Calico without `krt_tunnel`, which only Calico's fork of BIRD knows (no IPIP: it is "")."""
    return re.sub(r'krt_tunnel = "[^"]*";', "", template)


def _binary(name: str, source: Path, *, base: Path | None = None) -> Component:
    entry = LayerEntry(path=f"usr/local/bin/{source.name}", source=source)
    return Component(
        names=(name,), base=base, entries=(entry,), config={"Cmd": [f"/usr/local/bin/{source.name}"]}
    )


def _calico_files(module: Path) -> Iterator[LayerEntry]:
    """calico-node's service scripts and confd's templates, at their places in the image."""
    filesystem = module / "node/filesystem"
    for source in sorted(path for path in (filesystem / "etc").rglob("*") if path.is_file()):
        mode = 0o755 if source.name == "run" or source.name == "rc.local" else 0o644
        yield LayerEntry(path=str(source.relative_to(filesystem)), source=source, mode=mode)
    for source in sorted((filesystem / "sbin").iterdir()):
        yield LayerEntry(path=f"usr/sbin/{source.name}", source=source)
    confd = module / "confd/etc/calico/confd"
    for source in sorted((confd / "conf.d").iterdir()):
        yield LayerEntry(path=f"etc/calico/confd/conf.d/{source.name}", source=source, mode=0o644)
    for source in sorted((confd / "templates").glob("*.template")):
        text = without_tunnels(source.read_text())
        yield LayerEntry(path=f"etc/calico/confd/templates/{source.name}", text=text, mode=0o644)

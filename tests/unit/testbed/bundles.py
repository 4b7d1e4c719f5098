"""Small image bundles, written by hand: the format as docs/formats.md says, whatever the builder does."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from chaosext.testbed import versions
from chaosext.testbed.bundle import wanted_versions

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = (
    "bin/kind",
    "bin/helm",
    "bin/shop",
    "bin/customers",
    "bin/bridge",
    "bin/macvlan",
    "calico/calico.yaml",
    "flannel/kube-flannel.yml",
    "kube-router/kubeadm-kuberouter.yaml",
    "istio/base/Chart.yaml",
    "istio/istio-control/istio-discovery/Chart.yaml",
)
TREES = ("trees/python.tar", "trees/runner.tar")
LAYERS = ("layers/tools.tar", "layers/node.tar", "layers/other.tar")
IMAGES = {
    "node-base": (["layers/node.tar"], []),
    "leaf": (["layers/tools.tar"], []),
    "load-balancer": (["layers/tools.tar", "layers/other.tar"], []),
    "kube-apiserver": (["layers/other.tar"], ["registry.k8s.io/kube-apiserver:v1.34.4"]),
    "calico-node": (["layers/tools.tar", "layers/other.tar"], ["local/calico/node:1"]),
    "calico-cni": (["layers/other.tar"], ["local/calico/cni:1"]),
    "flannel": (["layers/tools.tar", "layers/other.tar"], ["local/flannel:1"]),
    "flannel-cni": (["layers/tools.tar", "layers/other.tar"], ["local/flannel-cni-plugin:1"]),
    "kube-router": (["layers/tools.tar", "layers/other.tar"], ["local/kube-router:1"]),
    "istio-pilot": (["layers/other.tar"], ["local/istio/pilot:1"]),
    "istio-proxy": (["layers/other.tar"], ["local/istio/proxyv2:1"]),
    "shop": (["layers/other.tar"], ["local/shop:1"]),
    "client": (["layers/other.tar"], ["local/client:1"]),
}


def manifest(profile: str = "full") -> dict[str, Any]:
    """The manifest of a bundle whose files hold their own names."""
    names = (*TOOLS, *(TREES + LAYERS if profile == "full" else ()))
    images = {
        role: {"layers": layers, "names": tags, "config": {"Cmd": [role]}}
        for role, (layers, tags) in IMAGES.items()
    }
    return {
        "schema": "chaosext.image-bundle/v1",
        "profile": profile,
        "chaosext": "0.1.0",
        "architecture": versions.ARCHITECTURE,
        "versions": {
            **wanted_versions("full" if profile == "full" else "tools"),
            **({"kubernetes": versions.KUBERNETES_VERSION} if profile == "full" else {}),
        },
        "files": {name: {"bytes": len(name), "sha256": sha256(name.encode()).hexdigest()} for name in names},
        **({"images": images} if profile == "full" else {}),
    }


def write(path: Path, said: dict[str, Any] | None = None) -> Path:
    """A bundle in the new directory `path`, with the manifest `said`."""
    said = said or manifest()
    for name in said["files"]:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (path / "manifest.json").write_text(json.dumps(said))
    return path

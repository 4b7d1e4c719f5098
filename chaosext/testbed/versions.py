"""The versions that the testbed is made of, and where each comes from: one table, read by images and cluster alike.

They belong together: kind's node layout, kubeadm's image names and Calico's manifests follow from these numbers.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A Go module at one version, as `go mod download PATH@VERSION` takes it."""

    path: str
    version: str

    def __str__(self) -> str:
        return f"{self.path}@{self.version}"


# The machine's architecture as Go, Debian and container images call it.
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

KUBERNETES_VERSION = "v1.34.4"
KUBERNETES_STAGING_VERSION = "v0.34.4"  # k8s.io/api and its sisters are released as v0.<minor>.<patch>
ETCD_VERSION = "v3.6.5"
COREDNS_VERSION = "v1.14.3"
CALICO_VERSION = "v3.28.5"
ISTIO_VERSION = "1.31-alpha"  # a commit of Istio's main branch: its releases are not tagged as Go modules
ENVOY_VERSION = "1.40.0"
KWOK_VERSION = "v0.8.0"

GO_VERSION = "1.26.8"
# Go publishes its toolchains as modules, for its own `toolchain` lines (go.dev/doc/toolchain).
GO_TOOLCHAIN = GoModule(path="golang.org/toolchain", version=f"v0.0.1-go{GO_VERSION}.linux-{ARCHITECTURE}")
KIND = GoModule(path="sigs.k8s.io/kind", version="v0.33.0")
KUBERNETES = GoModule(path="k8s.io/kubernetes", version=KUBERNETES_VERSION)
ETCD = GoModule(path="go.etcd.io/etcd/server/v3", version=ETCD_VERSION)
COREDNS = GoModule(path="github.com/coredns/coredns", version=COREDNS_VERSION)
HELM = GoModule(path="helm.sh/helm/v3", version="v3.18.6")
KWOK = GoModule(
    path="sigs.k8s.io/kwok", version=KWOK_VERSION
)  # nodes that only an API server sees, for the oracle
# v3.28.5 by commit: Go knows Calico's repository only under the tags of the CNI plugin it once was.
CALICO = GoModule(
    path="github.com/projectcalico/calico", version="v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"
)
ISTIO = GoModule(path="istio.io/istio", version="v0.0.0-20260827124520-eed52ebb66ad")

# What kubeadm 1.34.4 asks for (cmd/kubeadm/app/constants), and the sandbox that kind's containerd config names.
KUBEADM_COREDNS_TAG = "v1.12.1"
KUBEADM_ETCD_TAG = "3.6.5-0"
PAUSE_TAGS = ("3.10", "3.10.1")

# kind 0.33, pkg/cluster/internal/loadbalancer: what it runs in front of several control-plane nodes.
KIND_LOADBALANCER_IMAGE = "docker.io/envoyproxy/envoy:v1.36.2"

# Images on Docker Hub that the registry mode pulls instead of building. Node: the 1.34 of kind 0.33.0's release notes.
KINDEST_NODE_VERSION = "v1.34.11"
KINDEST_NODE_DIGEST = "sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"
ISTIO_RELEASE = "1.31.1"  # the release of the branch that ISTIO's commit, and so the charts, belong to
FRR_IMAGE_TAG = "v8.4.0"  # the minor version that Debian bookworm has, so that both modes' leaves speak alike
BUSYBOX_IMAGE_TAG = "1.36"
PYTHON_IMAGE_TAG = "3.11-slim"  # what a sentinel runs on; the minor version that Debian bookworm has

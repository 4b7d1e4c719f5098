"""The versions of the testbed's components, used by images, image bundles and clusters.

They depend on each other: kind's node layout, kubeadm's image names and Calico's manifests follow from them.
"""

from __future__ import annotations

import platform

# The machine's architecture as Go, Debian and container images call it.
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

KUBERNETES_VERSION = "v1.34.4"  # of `testbed up` unless asked otherwise: see kubernetes_releases
CALICO_VERSION = "v3.28.5"
ISTIO_VERSION = "1.31-alpha"  # a commit of Istio's main branch: its releases are not tagged as Go modules
KIND_VERSION = "v0.33.0"
HELM_VERSION = "v3.18.6"
FLANNEL_VERSION = "v0.28.10"
KUBE_ROUTER_VERSION = "v2.1.0"
CNI_PLUGINS_VERSION = "v1.9.1"
SHOP_VERSION = CUSTOMERS_VERSION = (
    "v1"  # of the sample applications' flags, paths and output: hack/images/cmd
)

# kind 0.33, pkg/cluster/internal/loadbalancer: the load balancer in front of several control-plane nodes.
KIND_LOADBALANCER_IMAGE = "docker.io/envoyproxy/envoy:v1.36.2"

# Official images; those of nodes: see kubernetes_releases.
ISTIO_RELEASE = "1.31.1"  # the release of the branch that the charts' commit belongs to
FLANNEL_CNI_IMAGE_TAG = "v1.9.1-flannel3"  # named by the manifest of FLANNEL_VERSION
FRR_IMAGE_TAG = "v8.4.0"  # the minor version of Debian bookworm, so that both leaves behave alike
BUSYBOX_IMAGE_TAG = "1.36"
PYTHON_IMAGE_TAG = "3.11-slim"  # for the sentinel; the minor version that Debian bookworm has

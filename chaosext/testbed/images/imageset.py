"""What the images hand to the cluster bring-up: names, commands and directories, all present on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.archive import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Images by the names that manifests must use, commands, and directories of upstream's manifests.

    Every in-cluster image but our own two is inside `node_image` already (each node's containerd has it at start):
    use `imagePullPolicy: IfNotPresent`. Those two are brought into nodes that run. `leaf_image` is one of the
    host's Docker engine; so is that of kind's load balancer, whose name is fixed in kind.

    The leaf is started by its own entrypoint: mount or copy `/etc/frr/frr.conf` and `/etc/frr/daemons`, then
    `vtysh` answers inside. `shop_image` serves HTTP; see `chaosext/testbed/images/shop` for its flags and paths.
    """

    source: Literal["registry", "source"]
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
    calico_manifests: Path
    """Calico's `manifests/` (calico.yaml, crds.yaml …), read-only."""
    istio_charts: Path
    """Istio's `manifests/charts/` (base, istio-control/istio-discovery …), read-only."""

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
        """Our own images, by what they are of: another line of source costs seconds, not a node image."""
        return {"sentinel": self.sentinel, "runner": self.runner}

    @property
    def in_cluster_images(self) -> tuple[str, ...]:
        """Images that Pods beyond kubeadm's own run."""
        return (
            self.calico_node_image,
            self.calico_cni_image,
            self.istio_pilot_image,
            self.istio_proxy_image,
            self.shop_image,
            self.client_image,
        )

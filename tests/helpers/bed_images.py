"""An image set that names nothing real, for tests that never start a container."""

from pathlib import Path

from chaosext.testbed.archive import Image
from chaosext.testbed.node_images import ImageSet, NetworkParts

IMAGES = ImageSet(
    source="bundle",
    kubernetes="v1.34.4",
    node_image="node:1",
    leaf_image="leaf:1",
    calico_node_image="calico-node:1",
    calico_cni_image="calico-cni:1",
    istio_hub="hub",
    istio_tag="1",
    shop_image="shop:1",
    client_image="client:1",
    sentinel=Image(names=("sentinel:1",), layers=()),
    runner=Image(names=("runner:1",), layers=()),
    kind=Path("kind"),
    helm=Path("helm"),
    customers=Path("customers"),
    networks=NetworkParts(
        flannel_image="flannel:1",
        flannel_cni_image="flannel-cni:1",
        kube_router_image="kube-router:1",
        files=Path("bundle"),
    ),
    calico_manifests=Path("calico"),
    istio_charts=Path("istio"),
)

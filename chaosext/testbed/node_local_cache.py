"""A DNS cache on each node, as NodeLocal DNSCache is with kube-proxy in IPVS mode: kubelet hands its address to Pods.

The objects are those that `chaosext rehearse` recommends, changed for plain CoreDNS: NodeLocal DNSCache's own image
can't be built from Go modules. It would put its address on a device of its own, and fill in the Corefile. Pure.
"""

from __future__ import annotations

import copy
import ipaddress
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.mitigate.nodelocal_dns import LOCAL_IP, NAME, NAMESPACE, SERVE_STALE, manifests
from chaosext.testbed.containers import at_every_start
from chaosext.testbed.dns_install import SELECTOR

if TYPE_CHECKING:
    from chaosext.testbed.kubectl import Manifest

WORKLOAD = (NAMESPACE, NAME)
"""Namespace and name of the DaemonSet."""

DNS_INDEX, UPSTREAM_INDEX = 10, 11
"""Of the Services' addresses: kube-dns' (kubeadm), and that of the same Pods as the caches ask them."""

UNIT = "chaosext-node-dns.service"
ADDRESS_SCRIPT = at_every_start(
    UNIT, description="Address of the node's DNS cache", command=f"ip address replace {LOCAL_IP}/32 dev lo"
)
"""A bash script that gives a node the cache's address now and at every start; not every kernel has dummy devices."""


def cache_objects(*, service_subnet: str, image: str, serves_stale: bool) -> list[Manifest]:
    """Return the cache's objects; `image` is CoreDNS'."""
    dns_ip, upstream_ip = (service_address(service_subnet, index) for index in (DNS_INDEX, UPSTREAM_INDEX))
    objects = {each["kind"]: each for each in copy.deepcopy(manifests(dns_ip, SELECTOR)["items"])}
    objects["Service"]["spec"]["clusterIP"] = upstream_ip
    corefile = _corefile(objects["ConfigMap"]["data"]["Corefile"], dns_ip, upstream_ip, serves_stale)
    objects["ConfigMap"]["data"]["Corefile"] = corefile
    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    pod["containers"] = [_coredns(pod["containers"][0], image)]
    pod["volumes"] = [
        {
            "name": "config-volume",
            "configMap": {"name": NAME, "items": [{"key": "Corefile", "path": "Corefile"}]},
        }
    ]
    return list(objects.values())


def service_address(subnet: str, index: int) -> str:
    """Return a Service address of the subnet by its index."""
    return str(ipaddress.IPv4Network(subnet)[index])


def _corefile(text: str, dns_ip: str, upstream_ip: str, serves_stale: bool) -> str:
    """Fill in what NodeLocal DNSCache fills in itself, and leave kube-dns' address to kube-proxy."""
    filled = (
        text.replace(f"bind {LOCAL_IP} {dns_ip}", f"bind {LOCAL_IP}")
        .replace("__PILLAR__CLUSTER__DNS__", upstream_ip)
        .replace("__PILLAR__UPSTREAM__SERVERS__", "/etc/resolv.conf")
    )
    return filled.replace("cache {\n", f"cache {{\n {SERVE_STALE}\n", 1) if serves_stale else filled


def _coredns(container: dict[str, Any], image: str) -> dict[str, Any]:
    mounts = [each for each in container["volumeMounts"] if each["name"] == "config-volume"]
    return {
        **container,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        "readinessProbe": {**container["livenessProbe"], "initialDelaySeconds": 0, "periodSeconds": 1},
        "volumeMounts": mounts,
    }

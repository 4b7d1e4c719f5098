"""Small objects with one line each."""

from __future__ import annotations

from typing import Any

from chaosext.cluster.objects import Endpoint, Node, Pod, Service, ServicePort

HTTP = ServicePort(name="http", port=8080, protocol="TCP")


def node(name: str, *ips: str, control_plane: bool = False) -> Node:
    labels = {"node-role.kubernetes.io/control-plane": ""} if control_plane else {}
    addresses = [{"type": "InternalIP", "address": ip} for ip in ips]
    return Node.from_json({"metadata": {"name": name, "labels": labels}, "status": {"addresses": addresses}})


def pod(name: str, **changes: Any) -> Pod:
    made = Pod.from_json({"metadata": {"name": name, "namespace": "shop"}, "status": {"phase": "Running"}})
    values = {field: getattr(made, field) for field in made.__slots__}
    return Pod(**{**values, "injected": True, **changes})


def endpoint(ip: str, on: str, pod: str, *ports: ServicePort) -> Endpoint:
    named = f"Pod/kube-system/{pod}" if pod else ""
    return Endpoint(ip=ip, node=on, pod=named, ready=True, serving=True, terminating=False, ports=ports)


def service(namespace: str, name: str, ip: str, *ports: ServicePort, **selector: str) -> Service:
    ips = (ip,) if ip else ()
    return Service(namespace=namespace, name=name, cluster_ips=ips, ports=ports or (HTTP,), selector=selector)

"""The sample workload: two services that call each other, meshed or not, and clients outside of the mesh. Pure."""

from __future__ import annotations

from chaosext.testbed.kubectl import Manifest, namespace

NAMESPACE = "shop"
CLIENTS_NAMESPACE = "clients"
SERVICES = ("storefront", "catalog")
CLIENT = "client"
PORT = 8080
NODE_PORT = 30080
"""The storefront's port on every node, for a load balancer in front of several clusters."""
REPLICAS_PER_WORKER = 2
"""More than one replica per node, so that the loss of a node moves several Pods to another."""


def shop_objects(*, image: str, workers: int, meshed: bool = True) -> list[Manifest]:
    """Return the namespace with `storefront` and `catalog`, each of which calls the other at /call.

    If it is `meshed`, Istio gives their Pods a sidecar.
    """
    storefront, catalog = SERVICES
    replicas = REPLICAS_PER_WORKER * workers
    return [
        namespace(NAMESPACE, labels={"istio-injection": "enabled"} if meshed else {}),
        *_service(storefront, image, replicas, calls=catalog),
        *_service(catalog, image, replicas, calls=storefront),
    ]


def entry_objects() -> list[Manifest]:
    """Return the storefront's NodePort Service for a load balancer: any node leads to any of its Pods."""
    storefront = SERVICES[0]
    port = {"name": "http", "port": PORT, "targetPort": PORT, "nodePort": NODE_PORT}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": f"{storefront}-entry",
                "namespace": NAMESPACE,
                "labels": {"app": storefront},
            },
            "spec": {"type": "NodePort", "selector": {"app": storefront}, "ports": [port]},
        }
    ]


def client_objects(*, image: str, workers: int) -> list[Manifest]:
    """Return clients without a sidecar, one per worker, that call the shop continuously."""
    container = {
        "name": CLIENT,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["client", f"-url=http://storefront.{NAMESPACE}.svc.cluster.local:{PORT}/call"],
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
    }
    return [
        namespace(CLIENTS_NAMESPACE),
        _deployment(CLIENTS_NAMESPACE, CLIENT, replicas=workers, container=container),
    ]


def _service(name: str, image: str, replicas: int, *, calls: str) -> list[Manifest]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
    }
    return [service, _deployment(NAMESPACE, name, replicas=replicas, container=_web(name, image, calls))]


def _web(name: str, image: str, calls: str) -> Manifest:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "serve",
            f"-name={name}",
            f"-listen=:{PORT}",
            f"-call=http://{calls}.{NAMESPACE}:{PORT}/",
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": _probe("/readyz", period_s=2),
        "livenessProbe": _probe("/healthz", period_s=5),
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
    }


def _probe(path: str, *, period_s: int) -> Manifest:
    """Return an HTTP probe of the service itself: it never depends on the other service."""
    return {"httpGet": {"path": path, "port": PORT}, "periodSeconds": period_s, "timeoutSeconds": 2}


def _deployment(space: str, name: str, *, replicas: int, container: Manifest) -> Manifest:
    labels = {"app": name}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {
        "containers": [container],
        "topologySpreadConstraints": [spread],
        "terminationGracePeriodSeconds": 5,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }

"""The sentinels of a run: one DaemonSet per cluster, `chaosext-sentinel`, in chaosext's own namespace.

Requires get, create and delete of that object, list of the Pods and events in its namespace, and get of
Leases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from chaosext.cluster.client import Conflict, NotFound, resource_path
from chaosext.cluster.lease import HOLDER, OWNER
from chaosext.cluster.objects import parse_time
from chaosext.model.errors import Refused
from chaosext.model.owner import attended, parsed
from chaosext.sentinel.bird_sessions import SOCKETS
from chaosext.sentinel.sentinel_image import ENTRYPOINT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import JsonObject
    from chaosext.model.owner import Claim, Holder, LockFacts

NAME = "chaosext-sentinel"

FORMER = "kube-system"
"""Where earlier versions of chaosext placed their sentinels, whose leftovers are still found and removed."""

PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}
"""The only Pod Security Standard that admits Pods with host network (kubernetes.io, "Pod Security Standards")."""

APP = {"app.kubernetes.io/name": NAME}
RUN = "chaosext/run"
"""Labels: the application, and the run."""

LINUX = ("kubernetes.io/os", "linux")

RECORD_DIR = "/var/lib/chaosext"
BIRD_DIR = SOCKETS
"""Where calico-node's BIRD has its control socket (Calico's manifest, volume `var-run-calico`); owned by root."""

ROOT, NOBODY = 0, 65534

START_S = 60
"""Seconds that a sentinel may take until its first sample before its kubelet restarts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelDaemonSet:
    """The DaemonSet in `namespace` with the sentinels of `run`. `owner` and `holder` as in `LockFacts`."""

    run: str
    namespace: str
    owner: str
    holder: Holder | None
    since: datetime | None
    uid: str

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        """Raises `Refused` for a DaemonSet that chaosext did not create."""
        metadata = obj["metadata"]
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        if not APP.items() <= labels.items() or RUN not in labels:
            raise Refused(
                f"{daemon_set(metadata['namespace'])} was not made by chaosext",
                "see whose it is, and rename or delete it",
            )
        return cls(
            run=labels[RUN],
            namespace=metadata["namespace"],
            owner=notes.get(OWNER, ""),
            holder=parsed(notes.get(HOLDER)),
            since=parse_time(metadata.get("creationTimestamp")),
            uid=metadata["uid"],
        )

    def is_attended(self, lock: LockFacts | None) -> bool:
        """Whether its run may be alive, according to the cluster's Lease `lock`."""
        return attended(self.run, self.holder, lock)

    def __str__(self) -> str:
        since = f", since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        where = f" in namespace {self.namespace}"
        return f"sentinels of run {self.run} of {self.owner or 'unknown'}{where}{since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Parameters of a sentinel. `plan` is JSON; `with_bird`: the nodes run Calico's BIRD."""

    image: str
    port: int
    token: str
    plan: str
    with_bird: bool


def daemon_set(namespace: str) -> str:
    """The DaemonSet's name for messages."""
    return f"DaemonSet {namespace}/{NAME}"


def delete_command(namespace: str) -> str:
    """The command that deletes the DaemonSet."""
    return f"kubectl -n {namespace} delete daemonset {NAME}"


def look_at_sentinels(
    cluster: Cluster, namespace: str, *, timeout_s: float | None = None
) -> SentinelDaemonSet | None:
    """Return the sentinels in `namespace`; None if there are none. Raises as the cluster's `request` does."""
    try:
        return SentinelDaemonSet.from_json(cluster.request("GET", _path(namespace), timeout_s=timeout_s))
    except NotFound:
        return None


def create_sentinels(cluster: Cluster, manifest: Mapping[str, Any]) -> str:
    """Create the DaemonSet and return its UID. Raises `Conflict` if it already exists.

    A missing namespace is created, and never deleted, because it may contain other objects by then.
    """
    namespace = manifest["metadata"]["namespace"]
    path = resource_path("daemonsets", namespace=namespace)
    try:
        made = cluster.request("POST", path, body=manifest)
    except NotFound:
        _create_namespace(cluster, namespace)
        made = cluster.request("POST", path, body=manifest)
    return str(made["metadata"]["uid"])


def _create_namespace(cluster: Cluster, namespace: str) -> None:
    """Create the namespace. Raises `Refused` with the commands to run if a permission is missing."""
    labels = {"app.kubernetes.io/name": "chaosext", **PRIVILEGED}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    try:
        cluster.request("POST", resource_path("namespaces"), body=body)
    except Conflict:  # created in the meantime
        return
    except Refused as error:
        fix = f"`kubectl create namespace {namespace}; {label_command(namespace)}`, or apply deploy/"
        raise Refused(f"namespace {namespace} is missing: {error.message}", fix) from None


def label_command(namespace: str) -> str:
    """The command that makes `namespace` admit Pods with host network."""
    ((key, value),) = PRIVILEGED.items()
    return f"kubectl label --overwrite namespace {namespace} {key}={value}"


def delete_sentinels(cluster: Cluster, found: SentinelDaemonSet, *, timeout_s: float | None = None) -> None:
    """Delete the `found` DaemonSet and no other; its Pods follow by themselves. May be repeated."""
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": found.uid},
    }
    try:
        cluster.request("DELETE", _path(found.namespace), body=options, timeout_s=timeout_s)
    except (NotFound, Conflict):  # already gone, or replaced by another one
        return


def sentinel_pods(
    cluster: Cluster, namespace: str, run: str = "", *, timeout_s: float | None = None
) -> tuple[JsonObject, ...]:
    """The Pods of the sentinels of `run` ("": of all runs) in `namespace`, as the API serves them."""
    ours = ",".join(f"{key}={value}" for key, value in labels(run).items())
    pages = cluster.pages("pods", namespace=namespace, labelSelector=ours, timeout_s=timeout_s)
    return tuple(pod for page in pages for pod in page.get("items") or ())


def _path(namespace: str) -> str:
    return resource_path("daemonsets", NAME, namespace=namespace)


def labels(run: str) -> dict[str, str]:
    return {**APP, RUN: run} if run else APP


def manifest(claim: Claim, process: Process, namespace: str) -> dict[str, Any]:
    """The DaemonSet manifest: a sentinel on every Linux node, whatever its taints, with host network. Pure."""
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": labels(claim.run),
            "annotations": {OWNER: claim.owner, HOLDER: str(claim.holder)},
        },
        "spec": {
            "selector": {"matchLabels": labels(claim.run)},
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": {**labels(claim.run), "sidecar.istio.io/inject": "false"}},
                "spec": _pod(process),
            },
        },
    }


def _pod(process: Process) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "record", "emptyDir": {}}]
    if process.with_bird:
        volumes.append({"name": "bird", "hostPath": {"path": BIRD_DIR}})
    return {
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "nodeSelector": dict([LINUX]),
        "tolerations": [{"operator": "Exists"}],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [_container(process)],
        "volumes": volumes,
    }


def _container(process: Process) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "record", "mountPath": RECORD_DIR}]
    if process.with_bird:
        mounts.append({"name": "bird", "mountPath": BIRD_DIR, "readOnly": True})
    return {
        "name": "sentinel",
        "image": process.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(ENTRYPOINT),  # the runner's image contains it too, with another entrypoint
        "env": _environment(process),
        "ports": [{"containerPort": process.port}],
        # No requests and no priority: on a full node, it does not displace any other Pod.
        "resources": {"requests": {"cpu": "0", "memory": "0"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "runAsUser": ROOT if process.with_bird else NOBODY,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Only a startup probe: the observer of a node must not be a load on it.
        "startupProbe": {
            "httpGet": {"path": "/v1/health", "port": process.port},
            "periodSeconds": 1,
            "failureThreshold": START_S,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",  # readable without permission for logs
        "volumeMounts": mounts,
    }


def _environment(process: Process) -> list[dict[str, Any]]:
    from_pod = {"CHAOSEXT_NODE": "spec.nodeName", "CHAOSEXT_HOST_IP": "status.hostIP"}
    given = {
        "CHAOSEXT_PORT": str(process.port),
        "CHAOSEXT_TOKEN": process.token,
        "CHAOSEXT_PLAN": process.plan,
        "CHAOSEXT_RECORD_DIR": RECORD_DIR,
    }
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in from_pod.items()),
        *({"name": name, "value": value} for name, value in given.items()),
    ]

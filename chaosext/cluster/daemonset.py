"""One DaemonSet for the whole cluster, `kube-system/chaosext-sentinel` (apps/v1): the sentinels of one run.

It needs get, create and delete of that one object, list of the Pods and events in its namespace, and get of Leases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from chaosext.cluster.client import Conflict, NotFound, resource_path
from chaosext.cluster.lease import HOLDER, OWNER
from chaosext.cluster.objects import parse_time
from chaosext.model.claim import attended, parsed
from chaosext.model.errors import Refused
from chaosext.sentinel.bird import SOCKETS
from chaosext.sentinel.image import ENTRYPOINT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import JsonObject
    from chaosext.model.claim import Claim, LockFacts
    from chaosext.model.holder import Holder

NAMESPACE, NAME = "kube-system", "chaosext-sentinel"
DAEMON_SET = f"DaemonSet {NAMESPACE}/{NAME}"
DELETE = f"kubectl -n {NAMESPACE} delete daemonset {NAME}"

APP = {"app.kubernetes.io/name": NAME}
RUN = "chaosext/run"
"""Labels: what it is, and whose run's."""

LINUX = ("kubernetes.io/os", "linux")

RECORD_DIR = "/var/lib/chaosext"
BIRD_DIR = SOCKETS
"""Where calico-node's BIRD has its control socket (Calico's manifest, volume `var-run-calico`); it belongs to root."""

ROOT, NOBODY = 0, 65534

START_S = 60
"""How long a sentinel may take to its first sample before its kubelet starts it anew."""

_ALL = resource_path("daemonsets", namespace=NAMESPACE)
_ONE = resource_path("daemonsets", NAME, namespace=NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """The DaemonSet as found: the sentinels of `run`. `owner` and `holder` as in `LockFacts`."""

    run: str
    owner: str
    holder: Holder | None
    since: datetime | None
    uid: str

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        """Raises `Refused` for one that chaosext did not make."""
        metadata = obj["metadata"]
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        if not APP.items() <= labels.items() or RUN not in labels:
            raise Refused(
                f"{DAEMON_SET} was not made by chaosext", "see whose it is, and rename or delete it"
            )
        return cls(
            run=labels[RUN],
            owner=notes.get(OWNER, ""),
            holder=parsed(notes.get(HOLDER)),
            since=parse_time(metadata.get("creationTimestamp")),
            uid=metadata["uid"],
        )

    def is_attended(self, lock: LockFacts | None) -> bool:
        """Whether its run may live, by the cluster's Lease `lock`."""
        return attended(self.run, self.holder, lock)

    def __str__(self) -> str:
        since = f", since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"sentinels of run {self.run} of {self.owner or 'unknown'}{since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a sentinel is started with. `plan` is JSON; `with_bird`: the nodes have Calico's BIRD to be asked."""

    image: str
    port: int
    token: str
    plan: str
    with_bird: bool


def look_at_sentinels(cluster: Cluster, *, timeout_s: float | None = None) -> Sentinels | None:
    """Whose sentinels are there; None where there are none. Raises as the cluster's `request` does."""
    try:
        return Sentinels.from_json(cluster.request("GET", _ONE, timeout_s=timeout_s))
    except NotFound:
        return None


def create_sentinels(cluster: Cluster, manifest: Mapping[str, Any]) -> str:
    """The uid of what was created. Raises `Conflict` where there is one already."""
    return str(cluster.request("POST", _ALL, body=manifest)["metadata"]["uid"])


def delete_sentinels(cluster: Cluster, uid: str, *, timeout_s: float | None = None) -> None:
    """Delete the DaemonSet with this `uid`; its Pods follow by themselves. May be repeated."""
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": uid},
    }
    try:
        cluster.request("DELETE", _ONE, body=options, timeout_s=timeout_s)
    except (NotFound, Conflict):  # gone, or there is another one by now
        return


def sentinel_pods(
    cluster: Cluster, run: str = "", *, timeout_s: float | None = None
) -> tuple[JsonObject, ...]:
    """The Pods of the sentinels of `run` ("": of any), as the API serves them."""
    ours = ",".join(f"{key}={value}" for key, value in labels(run).items())
    pages = cluster.pages("pods", namespace=NAMESPACE, labelSelector=ours, timeout_s=timeout_s)
    return tuple(pod for page in pages for pod in page.get("items") or ())


def labels(run: str) -> dict[str, str]:
    return {**APP, RUN: run} if run else APP


def manifest(claim: Claim, process: Process) -> dict[str, Any]:
    """The DaemonSet: a sentinel on every Linux node, whatever its taints, in the node's own network. Pure."""
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
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
        "command": list(ENTRYPOINT),  # the runner's image has it as well, with another entrypoint
        "env": _environment(process),
        "ports": [{"containerPort": process.port}],
        # It asks for nothing and has no priority: on a full node no Pod of anybody's makes room for it.
        "resources": {"requests": {"cpu": "0", "memory": "0"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "runAsUser": ROOT if process.with_bird else NOBODY,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Asked until it answers and never again: what watches the node must not be a load on it.
        "startupProbe": {
            "httpGet": {"path": "/v1/health", "port": process.port},
            "periodSeconds": 1,
            "failureThreshold": START_S,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",  # why it ended is in its Pod, without a right to read logs
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

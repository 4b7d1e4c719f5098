"""Short-lived Pods with host network, one per node: access to nodes that cannot be entered otherwise.

Requires create, get, list and delete of Pods, and get and create of pods/exec, in their namespace only.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from chaosext.cluster.client import NotFound, resource_path
from chaosext.cluster.daemonset import BIRD_DIR, RUN
from chaosext.cluster.lease import HOLDER, OWNER
from chaosext.cluster.objects import parse_time
from chaosext.model.owner import attended, me, parsed

if TYPE_CHECKING:
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import JsonObject
    from chaosext.model.owner import Holder, LockFacts

APP = {"app.kubernetes.io/name": "chaosext-node"}
CONTAINER = "node"
PREFIX = "node-"
"""Prefix of the names of these Pods."""

LIFE_S = 24 * 3600
"""Kubelet ends a Pod that reaches this age, in case it was never removed."""

SLEEP = "trap 'exit 0' TERM; sleep infinity & wait"
"""bash as PID 1 reaps the processes that execs leave behind, and exits on SIGTERM."""

NAME_DIGITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePod:
    """The parameters of a chaosext Pod on a node.

    `with_bird`: it mounts the socket of the node's BIRD, which is owned by root. `turn`: number of its
    predecessors, which is part of the name: a Pod with the same name could only be created once the old one
    is completely gone.
    """

    run: str
    owner: str
    node: str
    namespace: str
    image: str
    with_bird: bool = False
    turn: int = 0

    @property
    def name(self) -> str:
        """Contains a hash of the node's name, which may be too long itself."""
        return f"{PREFIX}{self.run}-{sha256(self.node.encode()).hexdigest()[:NAME_DIGITS]}-{self.turn}"

    @property
    def path(self) -> str:
        return resource_path("pods", self.name, namespace=self.namespace)

    def manifest(self) -> dict[str, Any]:
        """Root with no capability except NET_ADMIN, which nft needs, and only the node's network. Pure."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {**labels(self.run), "sidecar.istio.io/inject": "false"},
                "annotations": {OWNER: self.owner, HOLDER: str(me())},
            },
            "spec": self._spec(),
        }

    def _spec(self) -> dict[str, Any]:
        return {
            "nodeName": self.node,  # bypasses the scheduler and cordons
            "hostNetwork": True,
            "dnsPolicy": "Default",
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": LIFE_S,
            "containers": [self._container()],
            "volumes": self._volumes(),
        }

    def _container(self) -> dict[str, Any]:
        mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108  for bash's temporary files
        bird = {"name": "bird", "mountPath": BIRD_DIR, "readOnly": True}
        return {
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["bash", "-c", SLEEP],
            "resources": {"requests": {"cpu": "0", "memory": "0"}, "limits": {"memory": "256Mi"}},
            "securityContext": {
                "runAsUser": 0,
                "privileged": False,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [*mounts, bird] if self.with_bird else mounts,
        }

    def _volumes(self) -> list[dict[str, Any]]:
        volumes: list[dict[str, Any]] = [
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ]
        bird = {"name": "bird", "hostPath": {"path": BIRD_DIR, "type": "Directory"}}
        return [*volumes, bird] if self.with_bird else volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPods:
    """The Pods of `run` in `namespace`: their nodes and age. `owner` and `holder` as in `LockFacts`."""

    run: str
    owner: str
    namespace: str
    nodes: tuple[str, ...]
    holder: Holder | None
    since: datetime | None

    def is_attended(self, lock: LockFacts | None) -> bool:
        """Whether its run may be alive, as for sentinels."""
        return attended(self.run, self.holder, lock)

    def __str__(self) -> str:
        since = f", since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        where = f"on {', '.join(self.nodes)} in namespace {self.namespace}"
        return f"Pods of run {self.run} of {self.owner or 'unknown'} {where}{since}"

    @classmethod
    def of(cls, run: str, pods: list[JsonObject]) -> Self:
        first = pods[0]["metadata"]
        notes = first.get("annotations") or {}
        return cls(
            run=run,
            owner=notes.get(OWNER, ""),
            namespace=first["namespace"],
            nodes=tuple(sorted(pod["spec"].get("nodeName", "") for pod in pods)),
            holder=parsed(notes.get(HOLDER)),
            since=parse_time(first.get("creationTimestamp")),
        )


def labels(run: str) -> dict[str, str]:
    """Labels of the Pods of `run`; "": of all runs."""
    return {**APP, RUN: run} if run else APP


def create(cluster: Cluster, pod: NodePod, *, timeout_s: float | None = None) -> None:
    """Create the Pod. Raises `Conflict` if it already exists, else as the cluster's `request` does."""
    path = resource_path("pods", namespace=pod.namespace)
    cluster.request("POST", path, body=pod.manifest(), timeout_s=timeout_s)


def look_at(cluster: Cluster, pod: NodePod, *, timeout_s: float | None = None) -> JsonObject | None:
    """The Pod as the API serves it; None if it does not exist."""
    try:
        return cluster.request("GET", pod.path, timeout_s=timeout_s)
    except NotFound:
        return None


def list_pods(
    cluster: Cluster, namespace: str, run: str = "", *, timeout_s: float | None = None
) -> tuple[JsonObject, ...]:
    """The Pods of `run` ("": of all runs), as the API serves them."""
    ours = ",".join(f"{key}={value}" for key, value in labels(run).items())
    pages = cluster.pages("pods", namespace=namespace, labelSelector=ours, timeout_s=timeout_s)
    return tuple(pod for page in pages for pod in page.get("items") or ())


def delete(
    cluster: Cluster, namespace: str, name: str, *, at_once: bool = False, timeout_s: float | None = None
) -> None:
    """Delete one Pod; `at_once`: without waiting for its kubelet. May be repeated."""
    options = {"apiVersion": "v1", "kind": "DeleteOptions", **({"gracePeriodSeconds": 0} if at_once else {})}
    path = resource_path("pods", name, namespace=namespace)
    try:
        cluster.request("DELETE", path, body=options, timeout_s=timeout_s)
    except NotFound:
        return


def found(pods: tuple[JsonObject, ...]) -> tuple[FoundPods, ...]:
    """Group the Pods by run."""
    groups: dict[str, list[JsonObject]] = {}
    for pod in pods:
        groups.setdefault((pod["metadata"].get("labels") or {}).get(RUN, ""), []).append(pod)
    return tuple(FoundPods.of(run, group) for run, group in sorted(groups.items()))


def is_running(pod: JsonObject) -> bool:
    """Whether its container can be entered."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return not is_over(pod) and any("running" in (each.get("state") or {}) for each in statuses)


def is_over(pod: JsonObject) -> bool:
    """Whether it will not run any more: evicted, ended, or being deleted."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Failed", "Succeeded") or bool(pod["metadata"].get("deletionTimestamp"))

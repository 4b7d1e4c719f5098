"""A cluster in memory with a DaemonSet a namespace: it makes a Pod on each node, which does as the test says."""

from __future__ import annotations

from typing import Any

from chaosext.cluster.client import ApiAnswer, Conflict, NotFound
from chaosext.cluster.daemonset import APP, NAME, RUN
from chaosext.cluster.objects import CoreV1Event, Node
from chaosext.model.errors import Refused, Unreachable

OWN = "chaosext"

RUNNING = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"name": "sentinel", "state": {"running": {}}}],
}
STARTING = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}


def ended(code: int, message: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message}}
    return {"phase": "Running", "containerStatuses": [{"name": "sentinel", "lastState": state}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "sentinel", "state": state}]}


def node(name: str, *, ready: bool = True, os: str = "linux") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/os": os}},
        "status": {"conditions": conditions},
    }


class SentinelCluster:
    """`pods_do`: node -> the status of its Pod (default: it runs). `lingering`: nodes whose Pods never go.

    `silent`: how many requests are not answered yet. `lease`: who has it, as the API serves it. `namespaces`: those
    that are there, with their labels; `may_create_namespaces`: whether another may be added.
    """

    context = "kind-bed"

    def __init__(self, *names: str) -> None:
        self.nodes_are = [node(name) for name in names or ("cp", "w1", "w2")]
        self.pods_do: dict[str, dict[str, Any]] = {}
        self.lingering: set[str] = set()
        self.events_are: list[CoreV1Event] = []
        self.lease: dict[str, Any] | None = None
        self.calico = True
        self.forbidden = False
        self.silent = 0
        self.daemon_sets: dict[str, dict[str, Any]] = {}
        self.namespaces: dict[str, dict[str, str]] = {OWN: {}, "kube-system": {}}
        self.may_create_namespaces = True
        self.made: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self._left: dict[str, list[dict[str, Any]]] = {}

    @property
    def daemon_set(self) -> dict[str, Any] | None:
        return self.daemon_sets.get(OWN)

    def request(self, method: str, path: str, *, body: Any = None, timeout_s: float | None = None) -> Any:
        self._answer()
        if path == "/api/v1/namespaces":
            return self._add_namespace(body)
        where = path.removeprefix("/apis/apps/v1/namespaces/").split("/")
        assert where[1:] == ["daemonsets"] if method == "POST" else where[1:] == ["daemonsets", NAME]
        return getattr(self, f"_{method.lower()}")(where[0], body)

    def ask(self, method: str, path: str, *, timeout_s: float | None = None) -> ApiAnswer:
        assert (method, path.rpartition("/")[0][-6:]) == ("GET", "leases")
        self._answer()
        return ApiAnswer(status=200, body=self.lease) if self.lease else ApiAnswer(status=404, body={})

    def pages(self, kind: str, *, namespace: str, labelSelector: str, timeout_s: float | None = None) -> Any:
        assert kind == "pods"
        self._answer()
        wanted = dict(pair.split("=") for pair in labelSelector.split(","))
        there = self._pods(namespace)
        yield {"items": [pod for pod in there if wanted.items() <= pod["metadata"]["labels"].items()]}

    def nodes(self) -> tuple[Node, ...]:
        return tuple(map(Node.from_json, self.nodes_are))

    def events(self, namespace: str, field_selector: str) -> tuple[CoreV1Event, ...]:
        uid = field_selector.removeprefix("involvedObject.uid=")
        return tuple(each for each in self.events_are if each.involved_uid == uid)

    def ippools(self) -> tuple[()]:
        if not self.calico:
            raise NotFound("no such kind")
        return ()

    def left_by(self, run: str, namespace: str = OWN, **annotations: str) -> None:
        """As if `run` had placed its sentinels in `namespace` and died."""
        self._post(
            namespace,
            {
                "metadata": {
                    "namespace": namespace,
                    "labels": {**APP, RUN: run},
                    "annotations": annotations,
                },
                "spec": {"template": {"metadata": {"labels": {**APP, RUN: run}}}},
            },
        )
        self.made.clear()

    def _answer(self) -> None:
        if self.silent:
            self.silent -= 1
            raise Unreachable("API server did not answer")

    def _add_namespace(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.may_create_namespaces:
            raise Refused("missing permission: namespaces is forbidden")
        self.namespaces[body["metadata"]["name"]] = body["metadata"]["labels"]
        return body

    def _get(self, namespace: str, _: Any) -> dict[str, Any]:
        if namespace not in self.daemon_sets:
            raise NotFound("no DaemonSet")
        return self.daemon_sets[namespace]

    def _post(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        if namespace not in self.namespaces:
            raise NotFound(f'namespaces "{namespace}" not found')
        if namespace in self.daemon_sets:
            raise Conflict("it exists")
        assert body["metadata"]["namespace"] == namespace
        self.made.append(body)
        metadata = {**body["metadata"], "uid": f"uid-{len(self.deleted)}"}
        metadata["creationTimestamp"] = "2026-11-23T23:03:00Z"
        self.daemon_sets[namespace] = {**body, "metadata": metadata}
        return self.daemon_sets[namespace]

    def _delete(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        there = self._get(namespace, None)
        if body["preconditions"]["uid"] != there["metadata"]["uid"]:
            raise Conflict("another one")
        assert body["propagationPolicy"] == "Background"
        left = [pod for pod in self._pods(namespace) if pod["spec"]["nodeName"] in self.lingering]
        self._left[namespace] = left
        self.deleted.append(there["metadata"]["labels"][RUN])
        del self.daemon_sets[namespace]
        return {}

    def _pods(self, namespace: str) -> list[dict[str, Any]]:
        left = self._left.get(namespace, [])
        if namespace not in self.daemon_sets or self.forbidden:
            return left
        labels = self.daemon_sets[namespace]["spec"]["template"]["metadata"]["labels"]
        made = [
            {
                "metadata": {"name": f"s-{each['metadata']['name']}", "labels": labels},
                "spec": {"nodeName": each["metadata"]["name"]},
                "status": {
                    "hostIP": f"10.0.0.{index}",
                    **self.pods_do.get(each["metadata"]["name"], RUNNING),
                },
            }
            for index, each in enumerate(self.nodes_are)
            if each["metadata"]["labels"]["kubernetes.io/os"] == "linux"
        ]
        return [*left, *made]

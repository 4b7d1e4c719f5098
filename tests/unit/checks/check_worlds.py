"""Small worlds for the judges: nodes, Pods and endpoints with one line each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chaosext.cluster.objects import BgpPeer, ContainerStatus, Endpoint, Node, Pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.nodes.shell import ShellResult

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def node(name: str, *ips: str, control_plane: bool = False, labels: Mapping[str, str] | None = None) -> Node:
    marks = {"node-role.kubernetes.io/control-plane": ""} if control_plane else {}
    return Node(
        name=name,
        uid=name,
        is_control_plane=control_plane,
        internal_ips=ips,
        ready="True",
        ready_since=None,
        taints=(),
        zone="",
        labels={**marks, **(labels or {})},
        pod_cidrs=(),
        unschedulable=False,
    )


def pod(name: str, **changes: Any) -> Pod:
    values: dict[str, Any] = {
        "namespace": "shop",
        "name": name,
        "uid": name,
        "node": "worker",
        "ips": (),
        "phase": "Running",
        "reason": "",
        "ready": True,
        "ready_detail": "",
        "ready_since": None,
        "owner": "ReplicaSet/rs",
        "labels": {},
        "injected": True,
        "containers": (),
        "created": None,
        "started": None,
        "deletion": None,
        "host_network": False,
    }
    return Pod(**{**values, **changes})


def waiting(name: str, reason: str) -> ContainerStatus:
    return ContainerStatus(
        name=name,
        init=False,
        ready=False,
        running=False,
        restarts=3,
        waiting_reason=reason,
        waiting_message="",
    )


def endpoint(ip: str, pod: str = "", *, ready: bool = True, terminating: bool = False) -> Endpoint:
    return Endpoint(ip=ip, node="", pod=pod, ready=ready, serving=ready, terminating=terminating, ports=())


def bgp_peer(ip: str = "172.18.0.9", **changes: Any) -> BgpPeer:
    values = {
        "name": "leaf",
        "peer_ip": ip,
        "node": "",
        "node_selector": "",
        "peer_selector": "",
        "as_number": 1,
    }
    return BgpPeer(**{**values, **changes})


class ScriptedShell:
    """A NodeShell that answers every script with the same result, or raises."""

    def __init__(self, node: str, answer: ShellResult | Exception) -> None:
        self.node, self._answer = node, answer
        self.calls = 0

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        self.calls += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def stream(self, script: str) -> Any:
        raise AssertionError("no check streams")

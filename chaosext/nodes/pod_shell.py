"""A shell on a node through the API server: exec into a chaosext Pod in the node's own network."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cluster import pods_on_nodes
from chaosext.cluster.client import Cluster, Conflict
from chaosext.cluster.execute import NoContainer
from chaosext.cluster.pods_on_nodes import CONTAINER, NodePod
from chaosext.model.errors import ChaosextError, Refused, Unreachable
from chaosext.model.poll import poll
from chaosext.nodes.shell import ShellResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.cluster.execute import Exec
    from chaosext.nodes.shell import NodeAccess

GRACE_S = 1.0
"""Seconds by which a script may outlive its time limit. A lost connection ends it only when it reads its stdin."""

POLL_S = 0.2

ENTERED = "@@chaosext-entered"

FRAME = f"""
echo {ENTERED}
read -r size && script=$(head -c "$size") || exit 125
exec bash -c "$script" < <(exec 2>/dev/null; read -r size && head -c "$size")
"""
"""Runs a script that arrives on stdin, followed by the script's own stdin, each after a line with its length
in bytes: the protocol cannot close stdin alone. A lost connection ends the script's stdin too, so no script
waits for a dead runner."""


@dataclass(frozen=True, slots=True)
class PodShell:
    """A shell on `node` through the Pod of `way` there, which is recreated if it was removed."""

    node: str
    way: NodeAccess

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        with self._told(), self._enter(script, timeout_s) as running:
            running.send(framed(stdin))
            result = running.result()
        return ShellResult(result.exit_code, result.stdout, result.stderr)

    @contextmanager
    def stream(self, script: str, *, timeout_s: float | None = None) -> Iterator[PodStream]:
        with self._told():
            running = self._enter(script, timeout_s)
        with running:
            yield PodStream(self, running)

    def is_reached(self, *, timeout_s: float) -> bool | None:
        """Whether an API server reaches this node's kubelet, cut off or not; None if that cannot be determined."""
        way = replace(self.way, only=None)
        try:
            PodShell(self.node, way)._begun("", timeout_s).close()
        except NoContainer:
            return None
        except Unreachable:
            return False if _answers(way, timeout_s) else None
        return True

    def _enter(self, script: str, timeout_s: float | None) -> Exec:
        if self.way.closed:
            raise Unreachable(self.way.closed)
        if self.way.only is not None and self.node not in self.way.only:
            raise Unreachable("it is cut off, so that no API server reaches its kubelet")
        deadline_s = time.monotonic() + (self.way.start_s if timeout_s is None else timeout_s)
        while True:  # a recreated Pod may be mistaken for its predecessor
            left_s = max(POLL_S, deadline_s - time.monotonic())
            try:
                return self._begun(script, None if timeout_s is None else left_s)
            except NoContainer:
                if left_s <= POLL_S:
                    raise
                put(self.way, self.node, within_s=left_s)
                time.sleep(POLL_S)

    def _begun(self, script: str, timeout_s: float | None) -> Exec:
        """Start the script and wait until it has been received: a missing container may be reported late."""
        running = self._exec(timeout_s)
        try:
            running.send(framed(script))
            if running.line() != ENTERED:
                running.result()  # raises with the reason
                raise Unreachable("it was entered, and something else than our script answered")
        except BaseException:
            running.close()
            raise
        return running

    def _exec(self, timeout_s: float | None) -> Exec:
        bound = ["timeout", "-k", "1", f"{timeout_s + GRACE_S:g}"] if timeout_s is not None else []
        pod = pod_on(self.node, self.way)
        return cluster_of(self.way).open_exec(
            pod.namespace,
            pod.name,
            CONTAINER,
            [*bound, "bash", "-c", FRAME],
            stdin=True,
            timeout_s=timeout_s,
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Prefix errors with the node's name."""
        try:
            yield
        except Unreachable as error:
            raise Unreachable(f"{self.node}: {error.message}", error.fix) from error


@dataclass(frozen=True, slots=True)
class PodStream:
    """A running script: iterate its lines, `send` its stdin once."""

    shell: PodShell
    running: Exec

    def __iter__(self) -> PodStream:
        return self

    def __next__(self) -> str:
        with self.shell._told():
            if (line := self.running.line()) is not None:
                return line
            self.running.result()  # raises if the connection was lost
        raise StopIteration

    def send(self, text: str) -> None:
        self.running.send(framed(text))


def framed(text: str) -> str:
    """Encode a text for `FRAME`: its length in bytes on a line of its own, then the text."""
    return f"{len(text.encode())}\n{text}"


_turns: dict[tuple[str, str, str], int] = {}
"""Context, run and node -> number of times that the Pod was replaced."""


def pod_on(node: str, way: NodeAccess) -> NodePod:
    """Describe the Pod of `way` on `node`, whether or not it exists."""
    return NodePod(
        run=way.run,
        owner=way.owner,
        node=node,
        namespace=way.namespace,
        image=way.image,
        with_bird=way.with_bird,
        turn=_turns.get((way.context, way.run, node), 0),
    )


def _next(node: str, way: NodeAccess) -> NodePod:
    """Describe the replacement of a Pod that has ended."""
    _turns[way.context, way.run, node] = pod_on(node, way).turn + 1
    return pod_on(node, way)


def _answers(way: NodeAccess, timeout_s: float) -> bool:
    """Whether the API server itself answers."""
    try:
        cluster_of(way).ask("GET", "/version", timeout_s=timeout_s)
    except Unreachable:
        return False
    return True


_clusters: dict[str, Cluster] = {}
"""Context -> connection. A run registers its own once."""


def reach_by(cluster: Cluster) -> None:
    """Use `cluster` from now on to enter the nodes of its context."""
    _clusters[cluster.context] = cluster


def cluster_of(way: NodeAccess) -> Cluster:
    """The cluster of this context. Raises as `Cluster.connect` does."""
    if way.context not in _clusters:
        reach_by(Cluster.connect(way.context))
    return _clusters[way.context]


def make(way: NodeAccess, node: str) -> None:
    """Create the Pod of `way` on `node` without waiting for it. Raises `Refused` if that is not permitted."""
    cluster = cluster_of(way)
    _create(cluster, pod_on(node, way), cluster.request_timeout_s)


def put(way: NodeAccess, node: str, *, within_s: float) -> None:
    """Ensure that the Pod of `way` runs on `node`. May be repeated.

    Raises `Unreachable` if it does not run within `within_s`, `Refused` if it may not be created.
    """
    deadline_s = time.monotonic() + within_s

    def runs() -> bool:
        return _is_put(way, node, max(POLL_S, deadline_s - time.monotonic()))

    if not poll(runs, within_s=within_s, every_s=POLL_S, at_deadline=False):
        pod = pod_on(node, way)
        fix = f"see `kubectl -n {pod.namespace} describe pod {pod.name}`"
        raise Unreachable(f"Pod {pod.namespace}/{pod.name} does not run within {within_s:g} s", fix)


def _is_put(way: NodeAccess, node: str, timeout_s: float) -> bool:
    """Whether the Pod runs; creates it if it is missing, and replaces it if it has ended."""
    cluster, pod = cluster_of(way), pod_on(node, way)
    there = pods_on_nodes.look_at(cluster, pod, timeout_s=timeout_s)
    if there is not None and pods_on_nodes.is_running(there):
        return True
    if there is not None and pods_on_nodes.is_over(there):
        pods_on_nodes.delete(cluster, pod.namespace, pod.name, timeout_s=timeout_s)
        pod, there = _next(node, way), None
    if there is None:
        _create(cluster, pod, timeout_s)
    return False


def _create(cluster: Cluster, pod: NodePod, timeout_s: float) -> None:
    try:
        pods_on_nodes.create(cluster, pod, timeout_s=timeout_s)
    except Conflict:  # created in the meantime
        return
    except Refused as error:
        raise _refusal(error, pod) from None


def _refusal(error: ChaosextError, pod: NodePod) -> Refused:
    namespace, fix = pod.namespace, error.fix
    label = f"kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite"
    if "PodSecurity" in error.message:
        fix = f"its namespace must allow hostNetwork and NET_ADMIN: `{label}`"
    elif f'namespaces "{namespace}" not found' in error.message:
        fix = f"`kubectl create namespace {namespace}; {label}`, or apply deploy/"
    return Refused(f"transport pod, node {pod.node}: {error.message}", fix)

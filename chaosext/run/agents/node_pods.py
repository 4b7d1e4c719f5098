"""Opens access to nodes: transport `pod` creates chaosext's Pods on them first, and removes them at the end.

It is opened on first use, once per process, also for read-only access: there is no other access.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chaosext.cluster import pods_on_nodes
from chaosext.cluster.calico_objects import has_calico
from chaosext.cluster.daemonset import LINUX
from chaosext.experiment.settings import settings_from
from chaosext.model.errors import ChaosextError, Refused
from chaosext.model.poll import poll
from chaosext.nodes import pod_shell
from chaosext.nodes.shell import NAMESPACE
from chaosext.nodes.transport import shells
from chaosext.run.agents.diagnosis import Fixes, Hindrance, hindrance, refusal, still_missing
from chaosext.run.session.connection import connect_to_act
from chaosext.run.session.run_context import owner, run_id
from chaosext.safety.audit_log import AuditEvent, Deed, audit_log, note
from chaosext.safety.intent import PLACING, PODS, REMOVED, intent_log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import JsonObject, Node
    from chaosext.experiment.settings import Settings
    from chaosext.nodes.shell import NodeAccess

    Wanted = Callable[[Sequence[Node]], Iterable[Node]]
    """The nodes of a cluster to enter."""

POLL_S = 0.3
AT_ONCE = 16
PROVE_S = 10.0

REMOVE_S = 15.0
"""Time to remove the Pods, seconds: they have one second to end, then their kubelets clean up."""

LEAST_S = 0.3

FIXES = Fixes(
    bring="on a testbed, run `chaosext testbed up`; for another cluster, see deploy/runner/Dockerfile and "
    "set configuration.chaosext_node_image",
    ended="check its node, and that the image has bash (deploy/runner/Dockerfile)",
    repair="repair that node",
)

PROOF = "nft list tables >/dev/null && command -v ip ss base64 timeout >/dev/null"
"""Shows that nft may query the kernel, which needs NET_ADMIN, and that the image has the other tools."""


@dataclass(slots=True)
class Opened:
    """Access that this process has opened: the nodes (all of them if `on_all`), and the hindrances on others."""

    way: NodeAccess
    cluster: Cluster
    on_all: bool = False
    nodes: set[str] = field(default_factory=set)
    hindered: dict[str, Hindrance] = field(default_factory=dict)


_opened: dict[tuple[str, str], Opened] = {}
"""Context and namespace -> the access that is open."""

_opening = threading.RLock()


def open_access(settings: Settings, *, strictly: bool = True) -> NodeAccess:
    """Open access to all nodes of the cluster.

    `strictly`: raises `Refused`, with the node, the hindrance and a fix, if a node can't be entered; nothing is left
    behind then. Else that node's shell reports it. Also raises it if a permission is missing, and for a context that
    is not pinned.
    """
    if not settings.way.asks_the_api_server:
        return settings.way
    opened = _open(settings)
    if strictly and opened.hindered:
        leave()
        raise refusal(opened.hindered.values(), f"transport pod: {opened.way.image}")
    return opened.way


def way_back(way: NodeAccess, named: Collection[str] = ()) -> tuple[NodeAccess, tuple[str, ...]]:
    """Open access to what a run may have left on a cluster; also returns the nodes.

    These are the control plane's and those `named`; or all of them if cuts are on the nodes' side, as they must be if
    the control plane has no nodes. Raises as `open_access` does, and `Unreachable` for no answer.
    """
    given = {"chaosext_transport": way.transport, "chaosext_namespace": way.namespace or NAMESPACE}
    image = {"chaosext_node_image": way.image} if way.image else {}
    settings = settings_from({**given, **image}, {"KUBERNETES_CONTEXT": way.context})

    def wanted(nodes: Sequence[Node]) -> Iterable[Node]:
        masters = [] if way.on_nodes else [node for node in nodes if node.is_control_plane]
        return [node for node in nodes if node in masters or node.name in named] if masters else _linux(nodes)

    opened = _open(settings, wanted)
    return opened.way, tuple(sorted(opened.nodes | opened.hindered.keys()))


def leave(within_s: float = REMOVE_S, *, hurried: threading.Event | None = None) -> tuple[str, ...]:
    """Remove every Pod that this process has created on a node; returns a line for each that is not confirmed gone.

    Bounded, never raises, may be repeated. Once `hurried` is set it waits for nothing. Nor does it wait for a thread
    that is creating Pods and hangs.
    """
    has_turn = _opening.acquire(timeout=min(within_s, LEAST_S))
    left = tuple(_opened.values())
    _opened.clear()
    if has_turn:
        _opening.release()
    return tuple(filter(None, (_left(each, within_s, hurried or threading.Event()) for each in left)))


def remove(
    cluster: Cluster, namespace: str, run: str, *, within_s: float, hurried: threading.Event | None = None
) -> bool:
    """Remove the Pods of `run`; returns whether they were seen gone in time. Never raises, may be repeated."""
    deadline_s = time.monotonic() + within_s

    def gone() -> bool:
        with suppress(Exception):  # whatever the API server answers, ask again
            if not _still_there(cluster, namespace, run, max(LEAST_S, deadline_s - time.monotonic())):
                _write_removed(run)
                return True
        return False

    return poll(
        gone,
        until=lambda is_gone: is_gone or (hurried and hurried.is_set()),
        within_s=within_s,
        every_s=POLL_S,
        at_deadline=False,
    )


def _open(settings: Settings, wanted: Wanted | None = None) -> Opened:
    """The open access, extended to the `wanted` nodes (None: all of them, looked up once)."""
    with _opening:
        opened = _opened.get((settings.context, settings.namespace)) or _begun(settings)
        if not opened.on_all:
            try:
                _enter(opened, wanted)
            except BaseException:
                leave()
                raise
            opened.on_all = wanted is None
    return opened


def _enter(opened: Opened, wanted: Wanted | None) -> None:
    nodes = [node for node in (wanted or _linux)(opened.cluster.nodes()) if node.name not in opened.nodes]
    if nodes:
        _write_down(_deed(AuditEvent.PLACING_PODS, opened.way, nodes), to_clean_up=wanted is not None)
    opened.hindered |= _place(opened, nodes)
    opened.nodes |= {node.name for node in nodes} - opened.hindered.keys()


def _begun(settings: Settings) -> Opened:
    """Record the Pods in the intent log before any is created."""
    cluster = connect_to_act(settings)
    way = replace(settings.way, run=run_id(), owner=owner(), with_bird=has_calico(cluster))
    pod_shell.reach_by(cluster)
    whose = {"run": way.run, "owner": way.owner, "context": way.context, "namespace": way.namespace}
    intent_log().write({"event": PLACING, "what": PODS, "nodes": [], **whose})
    _opened[way.context, way.namespace] = Opened(way, cluster)
    return _opened[way.context, way.namespace]


def _linux(nodes: Sequence[Node]) -> Iterable[Node]:
    return [node for node in nodes if node.labels.get(LINUX[0], LINUX[1]) == LINUX[1]]


def _place(opened: Opened, nodes: Collection[Node]) -> Mapping[str, Hindrance]:
    """Create a Pod on each of `nodes`, wait until they run, and test each. Returns the hindrances by node."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        list(pool.map(lambda node: pod_shell.make(opened.way, node.name), nodes))
        running, hindered = _await_all(opened, nodes)
        proofs = pool.map(lambda node: _proven(opened.way, node), running)
        return {**hindered, **{each.node: each for each in proofs if each is not None}}


def _await_all(opened: Opened, nodes: Collection[Node]) -> tuple[list[str], dict[str, Hindrance]]:
    def waiting(pods: Mapping[str, JsonObject]) -> list[Node]:
        running, hindered = _running(nodes, pods), _hindered(nodes, pods)
        return [node for node in nodes if node.name not in running and node.name not in hindered]

    pods = poll(
        lambda: _pods_by_node(opened),
        until=lambda pods: not waiting(pods),
        within_s=opened.way.start_s,
        every_s=POLL_S,
    )
    late = {node.name: still_missing(node, pods.values(), FIXES) for node in waiting(pods)}
    return _running(nodes, pods), {**_hindered(nodes, pods), **late}


def _pods_by_node(opened: Opened) -> Mapping[str, JsonObject]:
    pods = pods_on_nodes.list_pods(opened.cluster, opened.way.namespace, opened.way.run)
    return {str(each["spec"]["nodeName"]): each for each in pods}


def _running(nodes: Iterable[Node], pods: Mapping[str, JsonObject]) -> list[str]:
    return [node.name for node in nodes if node.name in pods and pods_on_nodes.is_running(pods[node.name])]


def _hindered(nodes: Iterable[Node], pods: Mapping[str, JsonObject]) -> dict[str, Hindrance]:
    found = {node.name: hindrance(pods[node.name], FIXES) for node in nodes if node.name in pods}
    ill = {
        node.name: still_missing(node, (), FIXES)
        for node in nodes
        if node.ready != "True" and not (node.name in pods and pods_on_nodes.is_running(pods[node.name]))
    }
    return {**ill, **{name: each for name, each in found.items() if each is not None}}


def _proven(way: NodeAccess, node: str) -> Hindrance | None:
    """Raises `Refused` if no node may be entered at all."""
    try:
        result = shells([node], way)[node].run(PROOF, timeout_s=PROVE_S)
    except Refused:
        raise
    except ChaosextError as error:
        return Hindrance(node=node, why=error.message, fix=error.fix or FIXES.repair)
    if result.exit_code == 0:
        return None
    said = result.stderr.strip().splitlines() or ["the image lacks a tool"]
    return Hindrance(node=node, why=f"its Pod does not work there: {said[-1]}", fix=FIXES.ended)


def _write_down(deed: Deed, *, to_clean_up: bool) -> None:
    """Write to the audit log. Raises `Refused` if it can't; a cleanup goes on without a log."""
    if to_clean_up:
        note(deed)
    else:
        audit_log().append(deed)


def _deed(event: AuditEvent, way: NodeAccess, nodes: Iterable[Node]) -> Deed:
    names = tuple(sorted(node.name for node in nodes))
    return Deed(event=event, owner=way.owner, run=way.run, context=way.context, nodes=names)


def _left(opened: Opened, within_s: float, hurried: threading.Event) -> str:
    way = opened.way
    if remove(opened.cluster, way.namespace, way.run, within_s=within_s, hurried=hurried):
        note(_deed(AuditEvent.PODS_REMOVED, way, ()))
        return ""
    return f"Pods of run {way.run} may be left in namespace {way.namespace}: `chaosext cleanup` removes them"


def _still_there(cluster: Cluster, namespace: str, run: str, within_s: float) -> bool:
    pods = pods_on_nodes.list_pods(cluster, namespace, run, timeout_s=within_s)
    doomed = [each["metadata"]["name"] for each in pods if not each["metadata"].get("deletionTimestamp")]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        list(
            pool.map(lambda name: pods_on_nodes.delete(cluster, namespace, name, timeout_s=within_s), doomed)
        )
    return bool(pods)


def _write_removed(run: str) -> None:
    with suppress(ChaosextError):  # then a cleanup looks once more
        intent_log().write({"event": REMOVED, "what": PODS, "run": run, "nodes": []})

"""The way into the nodes, opened: in the transport `pod` our Pods are put on them first, and taken away at the end.

It is opened where it is first needed, once a process, and by whoever reads a node as well: there is no other way in.
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
from chaosext.nodes import pod_shell
from chaosext.nodes.access import NAMESPACE
from chaosext.nodes.transport import shells
from chaosext.run.agents.diagnosis import Fixes, Hindrance, hindrance, refusal, still_missing
from chaosext.run.session import run_context as contexts
from chaosext.safety.audit import Deed, Event, audit_log, note
from chaosext.safety.intent import PLACING, PODS, REMOVED, intent_log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import JsonObject, Node
    from chaosext.experiment.settings import Settings
    from chaosext.nodes.access import NodeAccess

    Wanted = Callable[[Sequence[Node]], Iterable[Node]]
    """Which of a cluster's nodes are to be entered."""

POLL_S = 0.3
AT_ONCE = 16
PROVE_S = 10.0

REMOVE_S = 15.0
"""What taking the Pods away may take: they have a second to end, and their kubelets clear up after them."""

LEAST_S = 0.3

FIXES = Fixes(
    bring="`chaosext testbed up` brings it to a testbed's nodes; for another cluster see deploy/runner/Dockerfile and "
    "set configuration.chaosext_node_image",
    ended="see what its node says, and that the image holds bash (deploy/runner/Dockerfile)",
    repair="repair that node",
)

PROOF = "nft list tables >/dev/null && command -v ip ss base64 timeout >/dev/null"
"""Shows that nft may ask the kernel, for which it needs NET_ADMIN there, and that the other tools are in the image."""


@dataclass(slots=True)
class Opened:
    """A way that this process has opened: on which nodes (`on_all`?), and what hinders it on which others."""

    way: NodeAccess
    cluster: Cluster
    on_all: bool = False
    nodes: set[str] = field(default_factory=set)
    hindered: dict[str, Hindrance] = field(default_factory=dict)


_opened: dict[tuple[str, str], Opened] = {}
"""Context and namespace -> the way there."""

_opening = threading.RLock()


def way_into(settings: Settings, *, strictly: bool = True) -> NodeAccess:
    """The way into all nodes of the cluster, open from now on.

    `strictly`: raises `Refused`, with the node, what hinders it and a fix, where a node can't be entered; nothing is
    left then. Else that node's shell says so. Also raises it where something may not be done at all, and for a context
    that is not pinned.
    """
    if not settings.way.asks_the_api_server:
        return settings.way
    opened = _open(settings)
    if strictly and opened.hindered:
        leave()
        raise refusal(opened.hindered.values(), f"transport pod: {opened.way.image}")
    return replace(opened.way, only=contexts.reachable())


def way_back(way: NodeAccess, named: Collection[str] = ()) -> tuple[NodeAccess, tuple[str, ...]]:
    """The way to what a run may have left on a cluster, open from now on; and the nodes it leads to.

    Those are the control plane's, and those `named`; or all of them, where cuts are on the nodes' side, as they must be
    where the control plane is no nodes. Raises as `way_into` does, and `Unreachable` for no answer.
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
    """Take away every Pod that this process has put on a node; what was not seen gone, a line each.

    Bounded, never raises, may be repeated. Once `hurried` is set nothing is waited for any more. A thread that is just
    putting Pods on nodes, and hangs, is not waited for either.
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
    """Take the Pods of `run` away; whether they were seen gone in time. Never raises, may be repeated."""
    deadline_s = time.monotonic() + within_s
    while True:
        left_s = max(LEAST_S, deadline_s - time.monotonic())
        with suppress(Exception):  # whatever the API server answers: it is asked again
            if not _still_there(cluster, namespace, run, left_s):
                _write_removed(run)
                return True
        if time.monotonic() + POLL_S > deadline_s or (hurried and hurried.is_set()):
            return False
        time.sleep(POLL_S)


def _open(settings: Settings, wanted: Wanted | None = None) -> Opened:
    """What is open by now, on the nodes that are `wanted` (None: on all of them, asked for once) as well."""
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
        _write_down(_deed(Event.PLACING_PODS, opened.way, nodes), to_clean_up=wanted is not None)
    opened.hindered |= _place(opened, nodes)
    opened.nodes |= {node.name for node in nodes} - opened.hindered.keys()


def _begun(settings: Settings) -> Opened:
    """Known to the intent log, and nothing made yet."""
    from chaosext.run.session.connection import connect_to_act

    cluster = connect_to_act(settings)
    way = replace(settings.way, run=contexts.run_id(), owner=contexts.owner(), with_bird=has_calico(cluster))
    pod_shell.reach_by(cluster)
    whose = {"run": way.run, "owner": way.owner, "context": way.context, "namespace": way.namespace}
    intent_log().write({"event": PLACING, "what": PODS, "nodes": [], **whose})
    _opened[way.context, way.namespace] = Opened(way, cluster)
    return _opened[way.context, way.namespace]


def _linux(nodes: Sequence[Node]) -> Iterable[Node]:
    return [node for node in nodes if node.labels.get(LINUX[0], LINUX[1]) == LINUX[1]]


def _place(opened: Opened, nodes: Collection[Node]) -> Mapping[str, Hindrance]:
    """Put a Pod on each of `nodes`, wait until they run, and see that each can do its work. What hinders which."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        list(pool.map(lambda node: pod_shell.make(opened.way, node.name), nodes))
        running, hindered = _await_all(opened, nodes)
        proofs = pool.map(lambda node: _proven(opened.way, node), running)
        return {**hindered, **{each.node: each for each in proofs if each is not None}}


def _await_all(opened: Opened, nodes: Collection[Node]) -> tuple[list[str], dict[str, Hindrance]]:
    deadline_s = time.monotonic() + opened.way.start_s
    while True:
        pods = {
            str(each["spec"]["nodeName"]): each
            for each in pods_on_nodes.list_pods(opened.cluster, opened.way.namespace, opened.way.run)
        }
        running = [
            node.name for node in nodes if node.name in pods and pods_on_nodes.is_running(pods[node.name])
        ]
        hindered = _hindered(nodes, pods)
        waiting = [node for node in nodes if node.name not in running and node.name not in hindered]
        if not waiting:
            return running, hindered
        if time.monotonic() > deadline_s:
            late = {node.name: still_missing(node, pods.values(), FIXES) for node in waiting}
            return running, {**hindered, **late}
        time.sleep(POLL_S)


def _hindered(nodes: Iterable[Node], pods: Mapping[str, JsonObject]) -> dict[str, Hindrance]:
    found = {node.name: hindrance(pods[node.name], FIXES) for node in nodes if node.name in pods}
    ill = {
        node.name: still_missing(node, (), FIXES)
        for node in nodes
        if node.ready != "True" and not (node.name in pods and pods_on_nodes.is_running(pods[node.name]))
    }
    return {**ill, **{name: each for name, each in found.items() if each is not None}}


def _proven(way: NodeAccess, node: str) -> Hindrance | None:
    """Raises `Refused` where no node may be entered at all."""
    try:
        result = shells([node], way)[node].run(PROOF, timeout_s=PROVE_S)
    except Refused:
        raise
    except ChaosextError as error:
        return Hindrance(node=node, why=error.message, fix=error.fix or FIXES.repair)
    if result.exit_code == 0:
        return None
    said = result.stderr.strip().splitlines() or ["a tool is missing in it"]
    return Hindrance(node=node, why=f"its Pod can't do its work there: {said[-1]}", fix=FIXES.ended)


def _write_down(deed: Deed, *, to_clean_up: bool) -> None:
    """Raises `Refused` where it can't be; who comes to take away what was left is held up by no log."""
    if to_clean_up:
        note(deed)
    else:
        audit_log().append(deed)


def _deed(event: Event, way: NodeAccess, nodes: Iterable[Node]) -> Deed:
    names = tuple(sorted(node.name for node in nodes))
    return Deed(event=event, owner=way.owner, run=way.run, context=way.context, nodes=names)


def _left(opened: Opened, within_s: float, hurried: threading.Event) -> str:
    way = opened.way
    if remove(opened.cluster, way.namespace, way.run, within_s=within_s, hurried=hurried):
        note(_deed(Event.PODS_REMOVED, way, ()))
        return ""
    return f"the Pods of run {way.run} were not seen gone from {way.namespace}: `chaosext cleanup` takes them away"


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

"""Find and remove sentinels and node Pods that a dead run left on a cluster, after the cleanup of the nodes.

The intent log decides which API servers are asked, not the pins: only those where chaosext may have left
something. So the cleanup of nodes waits for no API server, and needs no login to untouched clusters.
Leftovers of other machines are found if their context is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cleanup.inventory import Found, FoundSentinels, LeftoverKind, Why
from chaosext.cluster.daemonset import FORMER, RUN, daemon_set, delete_command, look_at_sentinels
from chaosext.cluster.lease import look_at_lease
from chaosext.cluster.pods_on_nodes import FoundPods, list_pods
from chaosext.cluster.pods_on_nodes import found as found_pods
from chaosext.model.errors import ChaosextError
from chaosext.nodes.shell import NAMESPACE
from chaosext.run.session.run_context import owner, run_id
from chaosext.safety.audit_log import AuditEvent, Deed, note
from chaosext.safety.intent import PODS, REMOVED, intent_log
from chaosext.safety.pins import read_pins

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from chaosext.cleanup.inventory import CleanupResult, CleanupScope, Overview
    from chaosext.cluster.daemonset import SentinelDaemonSet
    from chaosext.experiment.settings import Settings

ASK_S = 5.0
"""Seconds to wait for one answer of an API server."""

REMOVE_S = 15.0
"""Seconds that removing sentinels may take: their Pods have one second, and their kubelets clean up after that."""


def with_sentinels(overview: Overview, contexts: Collection[str] = ()) -> Overview:
    """Add the sentinels on the clusters of `contexts`, and on those that the intent log names, to `overview`.

    Skips clusters that are no longer pinned, because chaosext acts on pinned clusters only. An API server
    that does not answer is added to the problems.
    """
    found, clusters, problems = [], set(), list(overview.problems)
    for context in _to_ask(overview, contexts, problems):
        try:
            found += _look(_settings(context), _places(overview, context))
            clusters.add(context)
        except ChaosextError as error:
            problems.append(f"sentinels on {context}: {error.message}")
    return replace(overview, sentinels=tuple(found), clusters=frozenset(clusters), problems=tuple(problems))


def clean_up_sentinels(
    cleaned: CleanupResult, overview: Overview, wanted: CleanupScope, *, contexts: Collection[str] = ()
) -> CleanupResult:
    """Add the cleanup of sentinels to that of the nodes; `overview` is what the latter saw. May be repeated."""
    overview = with_sentinels(overview, contexts)
    found = decide(overview, wanted)
    doomed = tuple(each for each in found if each.why)
    failed = {} if cleaned.dry_run else _remove(doomed, _namespaces_of(overview))
    removed = tuple(each for each in doomed if each not in failed)
    unaudited = () if cleaned.dry_run else tuple(filter(None, map(_unaudited, removed)))
    if not cleaned.dry_run:
        _forget(overview)
    return replace(
        cleaned,
        removed=(*cleaned.removed, *removed),
        failed={**cleaned.failed, **failed},
        left=(*cleaned.left, *(each for each in found if not each.why)),
        problems=overview.problems,
        unaudited=(*cleaned.unaudited, *unaudited),
    )


def decide(overview: Overview, wanted: CleanupScope) -> tuple[Found, ...]:
    """Decide which sentinels within `wanted` are removed and why, or that they are left. Pure.

    They cut nothing, and a live run keeps its lock, so those with an unknown owner are removed too.
    """
    return tuple(
        Found(
            kind=each.kind,
            run=each.sentinels.run,
            node=each.context,
            live=overview.runner_of(each).attends,
            runner=overview.runner_of(each),
            why=_why(wanted, each.sentinels.run, attended=overview.runner_of(each).attends),
        )
        for each in overview.sentinels
        if wanted.concerns(each.sentinels.run)
    )


def _why(wanted: CleanupScope, run: str, *, attended: bool) -> Why | None:
    if wanted.names(run):
        return Why.NAMED
    return None if attended else Why.ORPHANED


def _namespaces_of(overview: Overview) -> Mapping[tuple[str, str, LeftoverKind], str]:
    """Context, run and kind -> the namespace."""
    return {
        (each.context, each.sentinels.run, each.kind): each.sentinels.namespace for each in overview.sentinels
    }


def _to_ask(overview: Overview, named: Collection[str], problems: list[str]) -> list[str]:
    noted = {run.context for run in overview.placed}
    try:
        pinned = set(read_pins()) if noted else set()
    except ChaosextError as error:
        problems.append(str(error))
        pinned = set()
    return sorted({*named, *(noted & pinned)})


def _settings(context: str) -> Settings:
    from chaosext.experiment.settings import settings_from

    return settings_from({"chaosext_request_timeout_s": ASK_S}, {"KUBERNETES_CONTEXT": context})


@dataclass(frozen=True, slots=True)
class _Places:
    """The namespaces of a cluster in which node Pods and sentinels may have been left."""

    pods: tuple[str, ...]
    sentinels: tuple[str, ...]


def _places(overview: Overview, context: str) -> _Places:
    """The namespaces according to the intent log, and the one that this process would use.

    A runner in a cluster lacks the intent logs of its predecessors, but all of them use the same namespace.
    Earlier versions of chaosext placed sentinels in `FORMER`.
    """
    noted = [run for run in overview.placed if run.context == context]
    pods = {run.namespace for run in noted if run.what == PODS}
    sentinels = {run.namespace for run in noted if run.what != PODS and run.namespace}
    own = overview.way.namespace or NAMESPACE
    return _Places(
        pods=tuple(sorted(pods | ({own} if overview.way.asks_the_api_server else set()))),
        sentinels=tuple(sorted(sentinels | {own, FORMER})),
    )


def _look(settings: Settings, places: _Places) -> list[FoundSentinels]:
    """Find those of other processes: this process removes its own."""
    from chaosext.run.session.connection import connect

    cluster = connect(settings)
    there: list[SentinelDaemonSet | FoundPods] = [
        each
        for namespace in places.pods
        for each in found_pods(list_pods(cluster, namespace))
        if each.run != run_id()
    ]
    found = (look_at_sentinels(cluster, namespace) for namespace in places.sentinels)
    there += [each for each in found if each]
    lock = look_at_lease(cluster) if there else None
    return [FoundSentinels(context=settings.context, sentinels=each, lock=lock) for each in there]


def _remove(
    doomed: Iterable[Found], namespaces: Mapping[tuple[str, str, LeftoverKind], str]
) -> Mapping[Found, str]:
    """Remove them. Returns those whose removal was not confirmed, and why."""
    problems = {each: _removed(each, namespaces[each.node, each.run, each.kind]) for each in doomed}
    return {each: problem for each, problem in problems.items() if problem}


def _removed(found: Found, namespace: str) -> str:
    from chaosext.run.agents import node_pods, sentinel_pods
    from chaosext.run.session.connection import connect_to_act

    try:
        cluster = connect_to_act(_settings(found.node))
    except ChaosextError as error:
        return str(error)
    if found.kind is LeftoverKind.PODS:
        gone = node_pods.remove(cluster, namespace, found.run, within_s=REMOVE_S)
        what, delete = f"Pods in {namespace}", f"kubectl -n {namespace} delete pods -l {RUN}={found.run}"
    else:
        gone = sentinel_pods.remove(cluster, namespace, found.run, within_s=REMOVE_S)
        what, delete = daemon_set(namespace), delete_command(namespace)
    return "" if gone else f"{what} not seen gone within {REMOVE_S:g} s: `{delete} --context {found.node}`"


def _unaudited(found: Found) -> str:
    """Why the removal is missing from the audit log; "" if it was logged."""
    said = note(Deed(event=AuditEvent.CLEANED_UP, owner=owner(), run=found.run, context=found.node))
    return said if isinstance(said, str) else ""


def _forget(overview: Overview) -> None:
    """Record runs that have nothing left on their cluster. A live run is kept: it may still create something.

    Raises `Inconclusive` if the intent log cannot be written.
    """
    there = {(each.context, each.sentinels.run, each.kind.value) for each in overview.sentinels}
    for run in overview.placed:
        lives = run.holder is not None and run.holder.is_here and not run.holder.is_dead
        if run.context in overview.clusters and (run.context, run.run, run.what) not in there and not lives:
            intent_log().write({"event": REMOVED, "what": run.what, "run": run.run, "nodes": []})

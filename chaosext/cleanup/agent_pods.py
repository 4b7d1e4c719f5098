"""Sentinels and Pods on nodes that a dead run has left on a cluster: looked for after the nodes, and taken away.

The intent log says which API servers are asked, and the pins do not: one is asked only where something of ours may be,
so that a cleanup of the nodes waits for none, and nobody has to log in to a cluster that was not touched. What another
machine has placed is found where its context is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cleanup.inventory import Found, FoundSentinels, Kind, Why
from chaosext.cluster.daemonset import FORMER, RUN, daemon_set, delete_command, look_at_sentinels
from chaosext.cluster.lease import look_at_lease
from chaosext.cluster.pods_on_nodes import FoundPods, list_pods
from chaosext.cluster.pods_on_nodes import found as found_pods
from chaosext.model.errors import ChaosextError
from chaosext.nodes.access import NAMESPACE
from chaosext.run.session.run_context import owner, run_id
from chaosext.safety.audit_log import Deed, Event, note
from chaosext.safety.intent import PODS, REMOVED, intent_log
from chaosext.safety.pins import read_pins

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from chaosext.cleanup.inventory import CleanupResult, Overview, Wanted
    from chaosext.cluster.daemonset import Sentinels
    from chaosext.experiment.settings import Settings

ASK_S = 5.0
"""How long one answer of an API server is waited for."""

REMOVE_S = 15.0
"""How long sentinels may take to be gone: their Pods have a second, and their kubelets clear up after them."""


def with_sentinels(overview: Overview, contexts: Collection[str] = ()) -> Overview:
    """`overview` with the sentinels on the clusters of `contexts`, and on those where the intent log has some.

    A cluster that is not pinned any more is not asked: nobody acts on it. An API server that doesn't answer is one of
    the problems.
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
    cleaned: CleanupResult, overview: Overview, wanted: Wanted, *, contexts: Collection[str] = ()
) -> CleanupResult:
    """Add the cleanup of the sentinels to that of the nodes; `overview` is what that one saw. May be repeated."""
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


def decide(overview: Overview, wanted: Wanted) -> tuple[Found, ...]:
    """The sentinels that `wanted` is about, and why they are to go, or that they are left. Pure.

    They cut nothing, and a run that lives keeps its lock: those of which nothing is known go, too.
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


def _why(wanted: Wanted, run: str, *, attended: bool) -> Why | None:
    if wanted.names(run):
        return Why.NAMED
    return None if attended else Why.ORPHANED


def _namespaces_of(overview: Overview) -> Mapping[tuple[str, str, Kind], str]:
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
    """The namespaces of a cluster in which Pods on nodes, and sentinels, may have been left."""

    pods: tuple[str, ...]
    sentinels: tuple[str, ...]


def _places(overview: Overview, context: str) -> _Places:
    """As the intent log says, and where this process would put its own.

    A runner in a cluster has no intent log of those before it, and all of them use the same namespace. Earlier
    versions of chaosext placed sentinels in `FORMER`.
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
    """Those of other processes: this one takes away its own."""
    from chaosext.run.session.connection import connect

    cluster = connect(settings)
    there: list[Sentinels | FoundPods] = [
        each
        for namespace in places.pods
        for each in found_pods(list_pods(cluster, namespace))
        if each.run != run_id()
    ]
    found = (look_at_sentinels(cluster, namespace) for namespace in places.sentinels)
    there += [each for each in found if each]
    lock = look_at_lease(cluster) if there else None
    return [FoundSentinels(context=settings.context, sentinels=each, lock=lock) for each in there]


def _remove(doomed: Iterable[Found], namespaces: Mapping[tuple[str, str, Kind], str]) -> Mapping[Found, str]:
    """Take them away; what was not seen gone, and why."""
    problems = {each: _removed(each, namespaces[each.node, each.run, each.kind]) for each in doomed}
    return {each: problem for each, problem in problems.items() if problem}


def _removed(found: Found, namespace: str) -> str:
    from chaosext.run.agents import node_pods, sentinel_pods
    from chaosext.run.session.connection import connect_to_act

    try:
        cluster = connect_to_act(_settings(found.node))
    except ChaosextError as error:
        return str(error)
    if found.kind is Kind.PODS:
        gone = node_pods.remove(cluster, namespace, found.run, within_s=REMOVE_S)
        what, delete = f"Pods in {namespace}", f"kubectl -n {namespace} delete pods -l {RUN}={found.run}"
    else:
        gone = sentinel_pods.remove(cluster, namespace, found.run, within_s=REMOVE_S)
        what, delete = daemon_set(namespace), delete_command(namespace)
    return "" if gone else f"{what} not seen gone within {REMOVE_S:g} s: `{delete} --context {found.node}`"


def _unaudited(found: Found) -> str:
    """Why the audit log does not have what was removed; "" where it has."""
    said = note(Deed(event=Event.CLEANED_UP, owner=owner(), run=found.run, context=found.node))
    return said if isinstance(said, str) else ""


def _forget(overview: Overview) -> None:
    """A run that has no sentinels, as its cluster says, need not be asked for again; but a live one may yet place some.

    Raises `Inconclusive` when the intent log can't be written.
    """
    there = {(each.context, each.sentinels.run, each.kind.value) for each in overview.sentinels}
    for run in overview.placed:
        lives = run.holder is not None and run.holder.is_here and not run.holder.is_dead
        if run.context in overview.clusters and (run.context, run.run, run.what) not in there and not lives:
            intent_log().write({"event": REMOVED, "what": run.what, "run": run.run, "nodes": []})

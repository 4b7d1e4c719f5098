"""Places the sentinels before the method, and removes them after it."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cluster.calico_objects import has_calico
from chaosext.cluster.daemonset import (
    FORMER,
    LINUX,
    NAME,
    Process,
    create_sentinels,
    delete_sentinels,
    look_at_sentinels,
    manifest,
    sentinel_pods,
)
from chaosext.cluster.lease import look_at_lease
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.poll import poll
from chaosext.model.redact import hide
from chaosext.run.agents.diagnosis import addresses, hindrance, node_of, not_created, refusal, still_missing
from chaosext.safety.intent import PLACING, REMOVED, intent_log
from chaosext.sentinel.sentinel_image import image_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.model.owner import Claim
    from chaosext.run.agents.diagnosis import Hindrance
    from chaosext.sentinel.watch_plan import WatchPlan

POLL_S = 0.3
UNDO_S = 10.0
"""Seconds to remove sentinels that failed to start; `chaosext cleanup` knows of the rest."""

LEAST_S = 0.2
"""Minimum timeout of a request, so that a last one is made when time is nearly up."""

LONGEST_PLAN = 100_000
"""Bytes. Linux takes 128 KiB in one variable of a process' environment (MAX_ARG_STRLEN, linux/binfmts.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The sentinels of `run`: node -> the address where its sentinel listens, on `port`.

    `plan` is what they were started with. If all of it was too long for a process' environment, it lacks the parts of
    single nodes: then the whole plan is still to be sent.
    """

    run: str
    addresses: Mapping[str, str]
    port: int
    plan: WatchPlan


def new_token() -> str:
    """The token by which sentinels know their runner. It is never logged."""
    token = secrets.token_urlsafe(32)
    hide([token])
    return token


def place(
    cluster: Cluster,
    claim: Claim,
    *,
    namespace: str,
    image: str,
    port: int,
    token: str,
    plan: WatchPlan,
    within_s: float,
) -> Placed:
    """Place a sentinel on every Linux node and wait until all of them sample.

    `namespace`: created if it is missing. `image`: "" for the testbed's. Replaces what a dead run left behind. Raises
    `Refused` with the node, the hindrance and a fix; no sentinel is left then, or `chaosext cleanup` knows of it.
    `Unreachable` if the API server doesn't answer. A caller that leaves while this waits (a signal) calls `remove`.
    """
    deadline_s = time.monotonic() + within_s
    for where in dict.fromkeys((namespace, FORMER)):
        _make_way(cluster, claim, where, deadline_s)
    given = _short_enough(plan)
    process = Process(
        image=image or image_name(),
        port=port,
        token=token,
        plan=json.dumps(given.to_json()),
        with_bird=has_calico(cluster),
    )
    nodes = [node for node in cluster.nodes() if node.labels.get(LINUX[0], LINUX[1]) == LINUX[1]]
    whose = {"run": claim.run, "owner": claim.owner, "context": cluster.context, "namespace": namespace}
    intent_log().write({"event": PLACING, "nodes": [], **whose})
    try:
        uid = create_sentinels(cluster, manifest(claim, process, namespace))
        placed = _Placement(cluster, namespace, claim.run, uid, process.image)
        found = _await_all(placed, nodes, deadline_s)
    except Exception:
        remove(cluster, namespace, claim.run, within_s=UNDO_S)
        raise
    return Placed(run=claim.run, addresses=found, port=port, plan=given)


def remove(cluster: Cluster, namespace: str, run: str, *, within_s: float) -> bool:
    """Remove the sentinels of `run`; returns whether they were gone within `within_s`. Never raises, may be repeated.

    `chaosext cleanup` knows of what was not seen gone.
    """
    deadline_s = time.monotonic() + within_s

    def gone() -> bool:
        with suppress(Exception):  # whatever the API server answers: it is asked again
            return _taken_away(cluster, namespace, run, deadline_s)
        return False

    if not poll(gone, within_s=within_s, every_s=POLL_S, at_deadline=False):
        return False
    with suppress(Exception):  # then a cleanup looks once more
        intent_log().write({"event": REMOVED, "run": run, "nodes": []})
    return True


def _taken_away(cluster: Cluster, namespace: str, run: str, deadline_s: float) -> bool:
    there = look_at_sentinels(cluster, namespace, timeout_s=_left_s(deadline_s))
    if there is not None and there.run == run:
        delete_sentinels(cluster, there, timeout_s=_left_s(deadline_s))
    return not sentinel_pods(cluster, namespace, run, timeout_s=_left_s(deadline_s))


def _make_way(cluster: Cluster, claim: Claim, namespace: str, deadline_s: float) -> None:
    """Remove sentinels of a dead run: their Pods hold the port that new ones need."""
    there = look_at_sentinels(cluster, namespace)
    if there is not None:
        if there.run != claim.run and there.is_attended(look_at_lease(cluster)):
            raise Refused(
                f"{there} are there, and that run is alive", "wait for it to end; see `chaosext status`"
            )
        delete_sentinels(cluster, there)
    if not poll(
        lambda: not sentinel_pods(cluster, namespace),
        within_s=deadline_s - time.monotonic(),
        every_s=POLL_S,
        at_deadline=False,
    ):
        raise Refused(
            f"Pods of {there or 'an earlier run'} are not removed in time",
            f"see `kubectl -n {namespace} get pods -l app.kubernetes.io/name={NAME} -o wide`",
        )


@dataclass(frozen=True, slots=True)
class _Placement:
    """A DaemonSet that was just created, with its `uid`."""

    cluster: Cluster
    namespace: str
    run: str
    uid: str
    image: str


def _await_all(placed: _Placement, nodes: Sequence[Node], deadline_s: float) -> Mapping[str, str]:
    """Node -> address, once a sentinel samples on each of `nodes`. Raises `Refused`."""
    seen = poll(
        lambda: _look(placed, nodes),
        until=lambda seen: seen.hindrances or not seen.missing,
        within_s=deadline_s - time.monotonic(),
        every_s=POLL_S,
        tolerate=Unreachable,
    )
    if hindrances := seen.hindrances or seen.missing:
        raise refusal(hindrances, f"sentinel {placed.image}")
    return seen.where


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where sentinels sample, why others can't, and why each of the other nodes has none yet."""

    where: Mapping[str, str]
    hindrances: Sequence[Hindrance]
    missing: Sequence[Hindrance]


def _look(placed: _Placement, nodes: Sequence[Node]) -> _Seen:
    cluster, namespace = placed.cluster, placed.namespace
    pods = sentinel_pods(cluster, namespace, placed.run)
    everywhere = addresses(pods)
    where = {node.name: everywhere[node.name] for node in nodes if node.name in everywhere}
    found = [hindrance(pod) for pod in pods if node_of(pod) not in where]
    if len(pods) < len(nodes):
        about = f"involvedObject.uid={placed.uid}"
        found.append(not_created(cluster.events(namespace, about), namespace))
    return _Seen(
        where,
        [each for each in found if each is not None],
        [still_missing(node, pods) for node in nodes if node.name not in where],
    )


def _short_enough(plan: WatchPlan) -> WatchPlan:
    """The plan, without parts that grow with the cluster if it is too long: a mesh of 100 nodes has 9,900 peers."""
    if len(json.dumps(plan.to_json())) <= LONGEST_PLAN:
        return plan
    return replace(plan, sidecars=(), bgp_peers={}, routes=(), pods=())


def _left_s(deadline_s: float) -> float:
    return max(LEAST_S, deadline_s - time.monotonic())

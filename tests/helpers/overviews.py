"""Nodes with cuts and locks of ours on them, as they are found; and processes that live or have ended."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from chaosext.cleanup.inventory import FoundSentinels
from chaosext.cluster.daemonset import SentinelDaemonSet
from chaosext.model import clock
from chaosext.model.owner import Holder, LockFacts, me
from chaosext.partition.nft import PeerFacts, RuleFacts, TableFacts
from chaosext.partition.reports import NodeTables
from chaosext.safety.intent import Outstanding

ALIVE, ELSEWHERE = me(), replace(me(), host="far", boot="12345678")


def _ended() -> Holder:
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    return replace(me(), pid=pid, started=1)


DEAD = _ended()


def cut(run: str, remaining_s: int = 74, packets: int = 3, owner: str = "alice@laptop") -> TableFacts:
    """Live, but for `remaining_s` 0."""
    peer = PeerFacts(network=ip_network("172.18.0.3/32"), timeout_s=120, remaining_s=remaining_s)
    drops = (
        RuleFacts(direction="in", family="ipv4", uplinks=("eth0",), packets=packets),
        RuleFacts(direction="out", family="ipv4", uplinks=("eth0", "eth1"), packets=packets),
    )
    return TableFacts(run=run, owner=owner, until=None, peers=(peer,) if remaining_s else (), drops=drops)


def lock(run: str, holder: Holder | None, remaining_s: int = 41) -> LockFacts:
    live = remaining_s > 0
    owner = "alice@laptop" if live else ""
    return LockFacts(
        run=run, owner=owner, holder=holder if live else None, remaining_s=remaining_s, is_live=live
    )


def node(name: str, *cuts: TableFacts, lock: LockFacts | None = None, problem: str = "") -> NodeTables:
    return NodeTables(node=name, tables=cuts, lock=lock, problem=problem)


def sentinels(
    run: str,
    holder: Holder | None,
    *,
    lock: LockFacts | None = None,
    context: str = "kind-chaosext",
    namespace: str = "chaosext",
) -> FoundSentinels:
    """On the cluster of `context`, whose Lease is `lock`."""
    since = datetime(2026, 11, 23, 23, 4, 30, tzinfo=UTC)
    whose: dict[str, Any] = {"run": run, "owner": "alice@laptop", "holder": holder, "since": since}
    there = SentinelDaemonSet(namespace=namespace, uid="uid-1", **whose)
    return FoundSentinels(context=context, sentinels=there, lock=lock)


A_DAY_S = 86_400.0
"""Outlasts the tests: what is made when they are collected must not be over when their turn comes."""


def unfinished(
    run: str, *nodes: str, holder: Holder = DEAD, age_s: float = 0.0, ttl_s: float | None = A_DAY_S
) -> Outstanding:
    """In the intent log, `age_s` ago; without a `ttl_s` it says nothing of its end."""
    intent: dict[str, Any] = {
        "owner": "alice@laptop",
        **holder.to_json(),
        **clock.now().later(-age_s).to_json(),
    }
    return Outstanding(run=run, nodes=nodes, intent=intent | ({"ttl_s": ttl_s} if ttl_s else {}))

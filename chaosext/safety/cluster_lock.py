"""One run at a time per cluster: a Lease for the cluster, and a lock on each node to be cut, held until all is healed.

The Lease keeps out other runners while the API server is reachable; the locks on the nodes do so when it is
not. Healing requires neither.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from chaosext.cluster.lease import release_lease, renew_lease, take_lease
from chaosext.model import clock
from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Refused
from chaosext.model.owner import LOCK_S
from chaosext.partition.apply import Hold
from chaosext.partition.node_lock import lock_nodes, remove_lock, renew_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chaosext.cluster.client import Cluster
    from chaosext.model.owner import Claim
    from chaosext.nodes.shell import NodeShell

RENEW_S = LOCK_S / 4
"""Seconds between renewals of a held lock."""

ASK_S = 5.0
"""Seconds that a renewal may wait for an answer: nodes and Lease together take less than `RENEW_S`."""

RELEASE_S = 2.0
"""Seconds that releasing each part may take. What cannot be released expires by itself."""


class ClusterLock:
    """The lock of one run, renewed by its own thread from `hold` to `release`.

    `tell` is called once, with one line of text, when the run has lost the lock. The locks on the nodes
    remain valid for an additional `sealed_s` seconds in which they cannot be renewed.
    """

    def __init__(
        self,
        claim: Claim,
        cluster: Cluster,
        shells: Mapping[str, NodeShell],
        *,
        tell: Callable[[str], None],
        sealed_s: float = 0.0,
    ) -> None:
        self._claim, self._cluster, self._shells, self._tell = claim, cluster, shells, tell
        self._on_nodes_s = LOCK_S + sealed_s
        self._over = threading.Event()
        self._keeper: threading.Thread | None = None
        self._renewed_s = 0.0
        self._lost = ""

    @property
    def held(self) -> Hold:
        """The node lock that a change of rules depends on."""
        return Hold(claim=self._claim, ttl_s=self._on_nodes_s)

    def hold(self) -> None:
        """Acquire the lock or, if already acquired, verify that it is still held.

        Raises `Refused` saying who holds it, and `Unreachable` if the API server or a node does not answer.
        """
        if self._keeper is None:
            self._take()
        else:
            self._make_sure()

    def release(self) -> None:
        """Release everything that this run still holds. Bounded and repeatable; never raises.

        May also be called if nothing was acquired.
        """
        self._over.set()
        if self._keeper is not None:
            self._keeper.join(
                RELEASE_S
            )  # it sleeps or is renewing: then it would change the Lease during the release
            self._keeper = None
        with suppress(ChaosextError):
            remove_lock(self._claim.run, self._shells, timeout_s=RELEASE_S)
        with suppress(ChaosextError):
            release_lease(self._cluster, self._claim.run, timeout_s=RELEASE_S / 2)  # two requests

    def _take(self) -> None:
        try:
            take_lease(self._cluster, self._claim)
            crash_point("lease-taken")
            lock_nodes(self._claim, self._shells, ttl_s=self._on_nodes_s)
        except BaseException:
            self.release()
            raise
        self._renewed_s, self._over = clock.uptime_s(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, args=(self._over,), name="lock", daemon=True)
        self._keeper.start()

    def _make_sure(self) -> None:
        if clock.uptime_s() - self._renewed_s > LOCK_S / 2:  # suspended, or without answers
            self._renew()
        if self._lost:
            raise Refused(
                f"lock: this run has lost it: {self._lost}",
                "see `chaosext status`; run again when the lock is free",
            )

    def _keep(self, over: threading.Event) -> None:
        while not over.wait(RENEW_S):
            with suppress(Exception):  # the run continues even if a renewal fails
                self._renew()

    def _renew(self) -> None:
        problems = [f"{node}: {why}" for node, why in self._renew_nodes().items()]
        with suppress(ChaosextError):  # an unreachable API server gives the Lease to no other run
            problems += filter(None, [renew_lease(self._cluster, self._claim, timeout_s=ASK_S / 2)])
        self._renewed_s, lost = clock.uptime_s(), "; ".join(problems)
        if lost and not self._lost and not self._over.is_set():
            self._tell(lost)
        self._lost = lost

    def _renew_nodes(self) -> dict[str, str]:
        return renew_lock(self._claim, self._shells, ttl_s=self._on_nodes_s, timeout_s=ASK_S)

"""One run at a time per cluster: its Lease, and a lock on each node that is to be cut, held until all is healed.

The Lease keeps other runners away while the API server can be asked; the nodes' own locks do so while it can't.
Neither is asked for an undo: to heal nobody needs a lock.
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
"""How often a held lock is renewed."""

ASK_S = 5.0
"""How long a renewal may wait for an answer: the nodes' and the Lease's together take less than `RENEW_S`."""

RELEASE_S = 2.0
"""How long each part may take to be given back: what can't be expires by itself."""


class ClusterLock:
    """The lock of one run, kept by a thread of its own from `hold` to `release`.

    `tell` is given a line, once, when the lock turns out to be another's (or nobody's) any more. The nodes' own locks
    outlast `sealed_s` seconds in which nobody can renew them.
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
        """What a change of rules on the nodes rests on: the lock that this run has there."""
        return Hold(claim=self._claim, ttl_s=self._on_nodes_s)

    def hold(self) -> None:
        """Take the lock; where it is held already, make sure that it still is.

        Raises `Refused`, saying who has it, and `Unreachable` when the API server or a node doesn't answer.
        """
        if self._keeper is None:
            self._take()
        else:
            self._make_sure()

    def release(self) -> None:
        """Give everything back that is still ours; bounded, never raises, may be repeated, taken or not."""
        self._over.set()
        if self._keeper is not None:
            self._keeper.join(
                RELEASE_S
            )  # it sleeps, or renews just now: then it would change the Lease under us
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
        if clock.uptime_s() - self._renewed_s > LOCK_S / 2:  # this process was stopped, or nobody answered
            self._renew()
        if self._lost:
            raise Refused(
                f"lock: this run has lost it: {self._lost}",
                "see `chaosext status`; run again when the lock is free",
            )

    def _keep(self, over: threading.Event) -> None:
        while not over.wait(RENEW_S):
            with suppress(Exception):  # whatever happens here, the run goes on
                self._renew()

    def _renew(self) -> None:
        problems = [f"{node}: {why}" for node, why in self._renew_nodes().items()]
        with suppress(
            ChaosextError
        ):  # an API server that doesn't answer gives the Lease to nobody else either
            problems += filter(None, [renew_lease(self._cluster, self._claim, timeout_s=ASK_S / 2)])
        self._renewed_s, lost = clock.uptime_s(), "; ".join(problems)
        if lost and not self._lost and not self._over.is_set():
            self._tell(lost)
        self._lost = lost

    def _renew_nodes(self) -> dict[str, str]:
        return renew_lock(self._claim, self._shells, ttl_s=self._on_nodes_s, timeout_s=ASK_S)

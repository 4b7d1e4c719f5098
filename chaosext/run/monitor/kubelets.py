"""Watches whether each kubelet reaches the API server during a run, by the Lease that it renews."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaosext.cluster.client import NODE_LEASES
from chaosext.cluster.objects import NodeLease
from chaosext.run.monitor.object_events_watch import Following
from chaosext.timeline.kubelet_renewals import Renewals

if TYPE_CHECKING:
    from chaosext.cluster.object_watch import Change
    from chaosext.timeline.recorder import Recorder

DEAF_S = 5.0
"""A watched API server that answers is heard at least every 3 s."""


class KubeletWatch:
    """Follows the Leases in one thread, and looks for silent kubelets in another; neither replaces `Renewals`."""

    def __init__(self) -> None:
        self._renewals = Renewals()
        self.following = Following(name="leases", kind="leases", take=self._take, namespace=NODE_LEASES)

    def look(self, recorder: Recorder) -> None:
        """Note kubelets that fell silent. An API server that is not heard can't show their silence."""
        now_s = time.monotonic()
        if now_s - self.following.answered_s > DEAF_S:
            self._renewals.deaf(now_s)
            return
        for note, at_s in self._renewals.silent(now_s):
            recorder.note(note, "api-server", at_s=at_s)

    def _take(self, change: Change, recorder: Recorder) -> None:
        lease = NodeLease.from_json(change["object"])
        if change["type"] == "DELETED":
            self._renewals.drop(lease.name)
        elif note := self._renewals.take(lease, time.monotonic()):
            recorder.note(note, "api-server")

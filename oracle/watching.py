"""What the API server tells from the cut on, and how punctual this machine is meanwhile."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused, Unreachable
from chaosext.model.timeline import Event, Kind
from chaosext.run.monitor.watchers import ObjectWatch
from chaosext.timeline.recorder import Recorder
from oracle.building import until

if TYPE_CHECKING:
    from chaosext.cluster.client import Cluster


class Watch:
    """Everything that the API server tells, from the cut on, and how punctual this machine is."""

    def __init__(self, cluster: Cluster) -> None:
        self._watch, self._recorder, self._stop = ObjectWatch(()), Recorder(), threading.Event()
        follow = [(each.follow, (cluster, self._recorder, self._stop)) for each in self._watch.followings]
        self._threads = [threading.Thread(target=_again, args=(self._stop, *each)) for each in follow]
        self._threads.append(threading.Thread(target=self._measure))
        self._zero_s, self.zero_wall_s, self.late_s, self.healed_s = 0.0, 0.0, 0.0, 0.0

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        until(lambda: self._watch.has_begun, "the first lists")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def begin(self) -> None:
        """The cut is now."""
        self._zero_s, self.zero_wall_s, self.late_s = time.monotonic(), time.time(), 0.0
        self._recorder.set_zero(self._zero_s)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._zero_s

    def until(self, t_s: float) -> None:
        time.sleep(max(0.0, t_s - self.now_s))

    @property
    def events(self) -> tuple[Event, ...]:
        """From the cut to now, without the zones' states, which the controller's own log tells better."""
        found = (event for event in self._recorder.events if event.kind is not Kind.ZONE_STATE)
        return tuple(event for event in found if event.t_s >= 0)

    @property
    def dns_hosts(self) -> tuple[str, ...]:
        """The nodes of kube-dns' ready endpoints, each as often as it has some."""
        return tuple(sorted(each.node for each in self._watch.dns_endpoints if each.ready))

    def _measure(self) -> None:
        while not self._stop.is_set():
            asleep_s = time.monotonic()
            time.sleep(0.1)
            self.late_s = max(self.late_s, time.monotonic() - asleep_s - 0.1)


def _again(stop: threading.Event, follow: Any, arguments: tuple[Any, ...]) -> None:
    while not stop.is_set():
        with suppress(Unreachable, Refused):
            follow(*arguments)

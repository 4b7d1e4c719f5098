"""Watches during a run: the API server's objects, the leaf, istiod's view of xDS. Each makes notes."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from chaosext.checks.check_names import XDS
from chaosext.checks.suite import run_checks
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.model.timeline import Kind
from chaosext.run.monitor.customers import EntryWatch
from chaosext.run.monitor.kubelets import KubeletWatch
from chaosext.run.monitor.leaf_watch import LeafWatch
from chaosext.run.monitor.object_events_watch import ObjectWatch
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from chaosext.checks.suite import Surroundings
    from chaosext.timeline.recorder import Recorder

POLL_S = 1.0
XDS_POLL_S = 5.0
PARTING_S = 3.0
"""Timeout for the threads to end, seconds; they are daemons, so none can block the process."""


class Watching:
    """A context manager that notes what happens in `recorder`."""

    def __init__(self, around: Surroundings, recorder: Recorder, directory: Path | None = None) -> None:
        """The results of customers' requests are kept in `directory`, the run's, if given."""
        self.objects = ObjectWatch(around.namespaces)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in _watchers(self.objects, around, recorder, directory, self._stop)
        ]

    def __enter__(self) -> Watching:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        deadline_s = time.monotonic() + PARTING_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))


def _watchers(
    objects: ObjectWatch,
    around: Surroundings,
    recorder: Recorder,
    directory: Path | None,
    stop: threading.Event,
) -> Iterable[tuple[str, Callable[[], None]]]:
    for following in objects.followings:
        follow = partial(following.follow, around.cluster, recorder, stop)
        yield following.name, partial(_repeat, following.name, follow, POLL_S, recorder, stop)
    kubelets = KubeletWatch()
    follow = partial(kubelets.following.follow, around.cluster, recorder, stop)
    yield "leases", partial(_repeat, "leases", follow, POLL_S, recorder, stop)
    yield "kubelets", partial(_repeat, "kubelets", partial(kubelets.look, recorder), POLL_S, recorder, stop)
    xds = XdsWatch(around, recorder)
    yield "xds", partial(_repeat, "xds", xds.look, XDS_POLL_S, recorder, stop)
    if around.leaf:
        yield "leaf", partial(LeafWatch(around.leaf, objects, recorder).watch, stop)
    if around.entry:
        watch = EntryWatch(around.entry, recorder, directory)
        yield "entry", partial(watch.watch_clusters, stop)
        yield "customers", partial(watch.watch_customers, stop)


def _repeat(
    name: str, look: Callable[[], None], every_s: float, recorder: Recorder, stop: threading.Event
) -> None:
    """Watch again and again, also if an API server can't be reached.

    Any other problem is reported once: a dead watch must not look like silence.
    """
    said = False
    while not stop.is_set():
        try:
            look()
        except Unreachable:
            pass
        except Exception as error:
            if not said:
                recorder.say(Kind.OBSERVATION_LOST, f"Watch/{name}", f"{type(error).__name__}: {error}")
            said = True
        stop.wait(every_s)


class XdsWatch:
    """Notes when sidecars lose xDS and when all have it again; nothing if istiod can't be asked."""

    def __init__(self, around: Surroundings, recorder: Recorder) -> None:
        self._around, self._recorder = around, recorder
        self._status = Status.HEALTHY

    def look(self) -> None:
        """Ask istiod once."""
        asked_s = time.monotonic()
        (finding,) = run_checks((XDS,), self._around, timeout_s=XDS_POLL_S * 2)
        if finding.status in (self._status, Status.UNKNOWN):
            return
        self._status = finding.status
        kind = Kind.XDS_RESTORED if finding.status is Status.HEALTHY else Kind.XDS_LOST
        note = Note(kind=kind, object="Service/istio-system/istiod", detail=finding.summary)
        self._recorder.note(note, "istiod", at_s=asked_s)

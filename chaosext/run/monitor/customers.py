"""Watches the global load balancer during a run: the clusters it sends customers to, and their requests' results.

The results are kept second by second in the run's directory, for the report's lane.
"""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError, Unreachable
from chaosext.model.files import append
from chaosext.model.load_balancer_state import SECONDS_FILE
from chaosext.model.timeline import Kind
from chaosext.timeline.load_balancer_events import CUSTOMERS, ENTRY, CustomersView, EntryView
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from chaosext.model.load_balancer_state import Second
    from chaosext.nodes.load_balancer import LoadBalancer
    from chaosext.timeline.recorder import Recorder

RETRY_S = 3.0
BEFORE_S = 120
"""Seconds before the cut that are kept."""


class EntryWatch:
    """Two streams: the load balancer's state and the customers' seconds, each with a thread of its own."""

    def __init__(self, entry: LoadBalancer, recorder: Recorder, directory: Path | None) -> None:
        self._entry, self._recorder, self._directory = entry, recorder, directory
        self._view, self._customers = EntryView(entry.name), CustomersView(entry.name)
        self._waiting: deque[Second] = deque(maxlen=BEFORE_S)
        self._blind: set[str] = set()

    def watch_clusters(self, stop: threading.Event) -> None:
        """Follow until `stop` is set."""
        self._keep_on(self._follow_clusters, ENTRY, stop)

    def watch_customers(self, stop: threading.Event) -> None:
        """Follow until `stop` is set."""
        self._keep_on(self._follow_customers, CUSTOMERS, stop)

    def _keep_on(self, follow: Callable[[threading.Event], None], source: str, stop: threading.Event) -> None:
        """Follow again and again; report a failure once, until it recovers."""
        while not stop.is_set():
            try:
                follow(stop)
            except (ChaosextError, ValueError) as error:
                at_s = time.monotonic()
                if stop.wait(RETRY_S):  # a run that ends stops its remote processes: not an event
                    return
                self._lose_sight(source, str(error), at_s)

    def _lose_sight(self, source: str, why: str, at_s: float) -> None:
        """Forget the state that can no longer be observed."""
        if source not in self._blind:
            self._blind.add(source)
            self._note(Kind.OBSERVATION_LOST, source, why, at_s)
        if source == ENTRY:
            self._view = EntryView(self._entry.name)
        else:
            self._customers = CustomersView(self._entry.name)

    def _see(self, source: str) -> None:
        if source in self._blind:
            self._blind.discard(source)
            self._note(Kind.OBSERVATION_RESTORED, source, "observed again", time.monotonic())

    def _note(self, kind: Kind, source: str, detail: str, at_s: float) -> None:
        name = f"Entry/{self._entry.name}"
        self._recorder.note(Note(kind=kind, object=name, detail=f"{source}: {detail}"), source, at_s=at_s)

    def _follow_clusters(self, stop: threading.Event) -> None:
        with self._entry.looks() as looks:
            for at_s, members in looks:
                self._see(ENTRY)
                for note in self._view.take(members):
                    self._recorder.note(note, ENTRY, at_s=at_s)
                if stop.is_set():
                    return
        raise Unreachable(f"the output of {self._entry.name} ended")

    def _follow_customers(self, stop: threading.Event) -> None:
        with self._entry.seconds() as seconds:
            for second in seconds:
                self._see(CUSTOMERS)
                for at_s, note in self._customers.take(second):
                    self._recorder.note(note, CUSTOMERS, at_s=at_s)
                self._keep(second)
                if stop.is_set():
                    return
        raise Unreachable(f"the output of the customers of {self._entry.name} ended")

    def _keep(self, second: Second) -> None:
        """Write the seconds, counted from the cut: so not before it."""
        self._waiting.append(second)
        zero_s = self._recorder.zero_s
        if zero_s is not None and self._directory:
            found = [self._waiting.popleft() for _ in range(len(self._waiting))]
            with suppress(OSError):  # a full disk must not end the watch
                _append(self._directory / SECONDS_FILE, found, zero_s)


def _append(path: Path, seconds: Iterable[Second], zero_s: float) -> None:
    lines = ({**each.to_json(), "t_s": round(each.t_s - zero_s, 3)} for each in seconds)
    append(path, "".join(f"{json.dumps(line)}\n" for line in lines), fsync=False)

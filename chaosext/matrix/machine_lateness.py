"""How late a machine is: the longest time for which a thread that was to run had to wait for the CPU."""

from __future__ import annotations

import threading
import time
from typing import Self

ASLEEP_S = 0.1
"""Time between two measurements, seconds."""

LATE_S = 1.0
"""A machine so late says little about the times of Kubernetes, seconds."""


class MachineLateness:
    """Measures while its block lasts; `late_s` is the longest wait so far, in seconds."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._ended.is_set():
            asleep_s = time.monotonic()
            time.sleep(ASLEEP_S)
            self.late_s = max(self.late_s, time.monotonic() - asleep_s - ASLEEP_S)

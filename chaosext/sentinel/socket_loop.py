"""Run many probes concurrently in one thread: each is a generator that yields what it waits for."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from socket import socket

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until `sock` is ready for `events`, or until `until_s` (monotonic). Resumes with whether it is ready."""

    sock: socket
    events: int
    until_s: float = math.inf


Probe = Generator[Wait, bool, T]


def readable(sock: socket) -> Probe[None]:
    """Wait until `sock` is readable. Raises `TimeoutError` if the time is over first."""
    if not (yield Wait(sock, EVENT_READ)):
        raise TimeoutError


def writable(sock: socket) -> Probe[None]:
    """Wait until `sock` is writable. Raises `TimeoutError` if the time is over first."""
    if not (yield Wait(sock, EVENT_WRITE)):
        raise TimeoutError


def drive(probes: Iterable[Probe[T]], until_s: float) -> list[T | None]:
    """Return the result of each probe, in order, by `until_s` (monotonic) at the latest.

    None for a probe that was not measured: it raised, or it began to wait only after its time was over,
    because this process was suspended or the machine too busy. The target is not to blame for that.
    """
    with DefaultSelector() as selector:
        run = _Run(list(probes), until_s, selector)
        run.to_end()
        return run.results


@dataclass(frozen=True, slots=True)
class _Waiting:
    sock: socket
    since_s: float
    until_s: float


@dataclass(slots=True)
class _Run(Generic[T]):
    probes: list[Probe[T]]
    until_s: float
    selector: DefaultSelector
    results: list[T | None] = field(init=False)
    waiting: dict[int, _Waiting] = field(default_factory=dict)

    def to_end(self) -> None:
        self.results = [None] * len(self.probes)
        for index in range(len(self.probes)):
            self._step(index, None)
        while self.waiting:
            self._once()

    def _once(self) -> None:
        nearest_s = min(each.until_s for each in self.waiting.values())
        ready = [key.data for key, _ in self.selector.select(max(0.0, nearest_s - time.monotonic()))]
        now_s = time.monotonic()
        over = [index for index, each in self.waiting.items() if each.until_s <= now_s and index not in ready]
        for index in ready:
            self._waited(index)
            self._step(index, True)
        for index in over:
            self._expire(index)

    def _expire(self, index: int) -> None:
        waited = self._waited(index)
        if waited.since_s < waited.until_s:
            self._step(index, False)
        else:
            self.probes[index].close()

    def _waited(self, index: int) -> _Waiting:
        waited = self.waiting.pop(index)
        self.selector.unregister(waited.sock)
        return waited

    def _step(self, index: int, answer: bool | None) -> None:
        """Resume a probe until it waits again or has finished. `answer` is None to start it.

        A probe that raises counts as not measured: one server's answer must not stop the probes of all
        others.
        """
        probe = self.probes[index]
        try:
            wait = next(probe) if answer is None else probe.send(answer)
            self.selector.register(wait.sock, wait.events, index)
        except StopIteration as end:
            self.results[index] = end.value
        except Exception:
            probe.close()
        else:
            self.waiting[index] = _Waiting(wait.sock, time.monotonic(), min(wait.until_s, self.until_s))

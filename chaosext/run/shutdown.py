"""Ends a run early, whatever the main thread is doing: on a signal, or if an activity takes too long. Only once.

A Python handler runs when the main thread comes back to bytecode. A signal that arrives just before a sleep begins
does not interrupt it, and what a handler raises is lost in a destructor or in an activity that swallows everything.
So a standby thread receives each signal through the wakeup descriptor (which the C handler writes even if the Python
handler was replaced), watches the deadlines, and keeps interrupting the main thread until it has left. If the main
thread does not leave within `PATIENCE_S`, the standby thread ends the run in its place. If that end hangs (each part is
bounded, but a disk or a terminal may hang), another thread ends the process: every wait has a limit.

The effect of a signal depends on the phase. During an activity (baseline, cut, hold, heal, rollback, dwell) the run
leaves it and starts no other; it heals the cut once more, and checks it. A second signal changes nothing, nor does the
first one at the run's end, except that the run no longer waits for mere evidence (`hurried`): it heals, judges and
writes, which takes seconds and is what was requested.

A stop (a stop condition, an abort) is gentler: the run leaves the current activity, skips the rest of the method, and
runs the rollbacks, as they restore the steady state. A signal or a deadline during that leaves as usual.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from chaosext.model.errors import Unsafe
from chaosext.nodes.transport import end_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

SKIP_ROLLBACKS = 30
"""The code of chaoslib's SIGUSR2 (chaoslib/exit.py): leave now, without rollbacks. chaosext heals by itself."""

PLAY_ROLLBACKS = 20
"""The code of its SIGUSR1: leave now, and run the rollbacks."""

STOP_S = 10.0
"""Time for an activity to end after a stop, seconds; then it counts as overdue."""

ASK_AGAIN_S = 0.25
"""Interval of interrupting a run that must leave, and of checking deadlines, seconds."""

PATIENCE_S = 1.5
"""Time for the main thread to leave, seconds; then the standby thread ends the run."""

END_S = 3.5
"""Seconds after the request to leave by which the last heal ends; the rest of 5 s is for everything else."""

GONE_S = 30.0
"""Seconds after the request to leave, or to hurry, by which the process ends: 5 s are usual."""

FINISHED_S = 240.0
"""Time limit for a run's normal end (heal, collect, release, report), seconds: 10 s are usual."""

SHORTEST_HEAL_S = 1.2
"""Minimum time of a heal, seconds; entering a node takes 0.3 s on an idle machine."""


@dataclass(slots=True)
class Leaving:
    """Why a run ends early: the first signal, or `overdue`, the activity that took too long, with its limit.

    `stopped`: the method goes no further; once the rollbacks run it is `restoring`, and can't be stopped any more.
    `in_method`: chaoslib is running, and must not be interrupted between two activities. `forsaken` ends the run and
    the process without the main thread; `abandoned` ends the process without the run's end.
    """

    heeded: tuple[signal.Signals, ...] = SIGNALS
    signal_number: int | None = None
    overdue: str = ""
    forsaken: Callable[[], None] | None = None
    abandoned: Callable[[str], None] | None = None
    stopped: bool = False
    in_method: bool = False
    restoring: bool = False
    hurried: threading.Event = field(default_factory=threading.Event)
    _told_s: float = math.inf
    _gone_by_s: float = math.inf
    _due: dict[int, tuple[float, str]] = field(default_factory=dict)
    _gap: tuple[float, str] = (math.inf, "")
    _ended: threading.Lock = field(default_factory=threading.Lock)
    _turning: threading.Lock = field(default_factory=threading.Lock)

    @property
    def told(self) -> bool:
        return self.signal_number is not None or bool(self.overdue)

    @property
    def ending(self) -> bool:
        """Whether the run's end has begun."""
        return self._ended.locked()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. It raises inside activities only: a run at its end is not interrupted."""
        self.hear(number)
        if self.told and _is_played(frame):
            raise SystemExit(SKIP_ROLLBACKS)
        if self._stops and (_is_inside_an_activity(frame) if self.in_method else _is_played(frame)):
            raise SystemExit(PLAY_ROLLBACKS)

    def hear(self, number: int) -> None:
        """Handle a signal: the first one during the run ends it; one at its end hurries it."""
        if number in self.heeded and self.ending:
            self.hurried.set()
            self.be_gone_within(GONE_S)
        elif number in self.heeded and not self.told:
            self._told_s, self.signal_number = time.monotonic(), number
            self.be_gone_within(GONE_S)

    def leave(self) -> None:
        """Leave here if the run must leave; call this before starting anything, in any thread."""
        if self.told:
            raise SystemExit(SKIP_ROLLBACKS)
        if self._stops:
            raise SystemExit(PLAY_ROLLBACKS)

    def stop(self) -> bool:
        """Start nothing more of the method; returns whether there was a run to stop. `interrupt` ends the activity."""
        with self._turning:
            may_stop = not (self.told or self.ending or self.restoring or self.stopped)
            self.stopped = self.stopped or may_stop
        return may_stop

    def interrupt(self) -> None:
        """Interrupt the current activity repeatedly, until the rollbacks run or the run has ended."""
        main = threading.main_thread().ident or 0
        self._due[main] = _due("the activity at the time of the stop", STOP_S)
        end_all()
        while self._stops and not self.told and not self.ending:
            with suppress(ProcessLookupError):
                signal.pthread_kill(main, signal.SIGALRM)
            time.sleep(ASK_AGAIN_S)

    def restore(self) -> None:
        """The rollbacks are next: from here on only a signal or a deadline stops the run."""
        with self._turning:
            self.restoring = True

    @property
    def _stops(self) -> bool:
        return self.stopped and not self.restoring

    def begin(self, what: str, within_s: float) -> None:
        """Set a deadline for `what` in this thread; past it the run leaves."""
        self._due[threading.get_ident()] = _due(what, within_s)

    def done(self, what_follows: str, within_s: float) -> None:
        """Clear this thread's deadline. If no other thread is busy, something must start in time, or the run leaves."""
        self._due.pop(threading.get_ident(), None)
        self._gap = _due(what_follows, within_s)

    def look(self) -> None:
        """Check the deadlines."""
        for deadline_s, sentence in tuple(self._due.values()) or (self._gap,):
            if time.monotonic() >= deadline_s and not self.told and not self.ending:
                self._told_s, self.overdue = time.monotonic(), sentence
                self.be_gone_within(GONE_S)

    def be_gone_within(self, within_s: float) -> None:
        """Set the latest end of the process, with or without a verdict; keeps an earlier one."""
        self._gone_by_s = min(self._gone_by_s, time.monotonic() + within_s)

    def see_out(self, over: threading.Event) -> None:
        """Until `over`, end the process if the run's end takes too long."""
        while not over.wait(ASK_AGAIN_S):
            if time.monotonic() >= self._gone_by_s and self.abandoned:
                try:
                    self.abandoned("the run did not end in time, so it is unknown what is left behind")
                finally:
                    os._exit(Unsafe.exit_code)

    def play(self, what: Callable[[], None]) -> None:
        """Run `what` to its end or until it is left; then no other thread may end the run.

        Does not return if another thread has ended it already: the process is about to end. Raises what `what` does.
        """
        try:
            _played(what)
        except SystemExit:
            pass
        finally:
            if not self.claim():
                threading.Event().wait()

    def claim(self) -> bool:
        """Whether the caller ends the run: the first one does."""
        return self._ended.acquire(blocking=False)

    @property
    def told_for_s(self) -> float:
        """Seconds since the run was asked to leave; 0 if it was not."""
        return time.monotonic() - self._told_s if self.told else 0.0

    def within_s(self, end_s: float) -> float:
        """Time left for a heal that must end `end_s` after the run was asked to leave, seconds."""
        return max(SHORTEST_HEAL_S, end_s - self.told_for_s)

    def install(self) -> None:
        """Install this handler for every handled signal."""
        for number in (*self.heeded, signal.SIGALRM):
            signal.signal(number, self)


@contextmanager
def leaving_on_signals() -> Iterator[Leaving]:
    """Handle signals within the context; only in the main thread. A signal that is ignored (nohup) stays ignored."""
    left = Leaving(heeded=tuple(each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN))
    before = {number: signal.getsignal(number) for number in left.heeded}
    heard, written = socket.socketpair()
    written.setblocking(False)
    over = threading.Event()
    threading.Thread(target=_stand_by, args=(left, heard), name="leaving", daemon=True).start()
    threading.Thread(target=left.see_out, args=(over,), name="last resort", daemon=True).start()
    wakeup = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    left.install()
    try:
        yield left
    finally:
        left.claim()
        over.set()
        # SIGALRM keeps our handler, which does nothing now: a last one may be on its way, and its default is to kill.
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        written.close()


def _due(what: str, within_s: float) -> tuple[float, str]:
    return time.monotonic() + within_s, f"{what} did not end within {within_s:g} s"


def _played(what: Callable[[], None]) -> None:
    """The frame by which a handler knows that an activity is running."""
    what()


def _is_played(frame: FrameType | None) -> bool:
    return _is_inside(_played.__code__, frame)


def _is_inside_an_activity(frame: FrameType | None) -> bool:
    return _is_inside(_activity(), frame)


def _is_inside(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


@cache
def _activity() -> CodeType:
    """chaoslib's own frame around an activity, its pauses and its controls."""
    from chaoslib.activity import execute_activity

    code: CodeType = execute_activity.__code__
    return code


def _stand_by(left: Leaving, heard: socket.socket) -> None:
    heard.settimeout(ASK_AGAIN_S)
    with heard:
        while not left.told:
            with suppress(TimeoutError):
                said = heard.recv(64)
                if not said:
                    return
                for number in said:
                    left.hear(number)
            left.look()
    _insist(left)


def _insist(left: Leaving) -> None:
    """Interrupt the main thread again and again until the run has left; in the end, leave without it.

    Scripts that run on nodes are ended first, so that no thread waits for one.
    """
    end_all()
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        time.sleep(ASK_AGAIN_S)
        if left.ending:
            return
        with suppress(ProcessLookupError):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
    if left.forsaken and left.claim():
        try:
            left.forsaken()
        finally:  # does not return; if it failed, the run has no other end, and what is left is unknown
            os._exit(Unsafe.exit_code)

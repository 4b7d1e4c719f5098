"""Leaving a run, whatever the main thread is doing: on a signal, or because an activity's time is up. Only once.

A Python handler runs when the main thread comes back to bytecode. A signal that arrives just before a sleep begins
does not interrupt it, and what a handler raises is lost in a destructor or in an activity that swallows everything.
So a thread of our own stands by. It hears of each signal through the wakeup descriptor (which the C handler writes,
whoever has replaced ours in Python), watches the deadlines, and keeps interrupting the main thread until it has left.
A main thread that does not come for `PATIENCE_S` is forsaken: the thread that stands by ends the run in its place.
Should an end itself not come to its end (each part of it is bounded, but a disk or a terminal may hang), another thread
ends the process: nobody is waited for without a limit.

What a signal means depends on what it finds. While anything is played (gate, cut, hold, heal, rollback, dwell), that is
left and nothing more is played; the cut is healed once more, and looked at. A second signal changes nothing, nor does
the first once the run is at its end, but that nobody is waited for any more who only has evidence (`hurried`): it
heals, judges and writes, which takes seconds and is what was asked for.

A stop (a stop condition, an abort) is gentler: the activity that is played is left, the method goes no further, and the
rollbacks are played, as they restore the steady state. A signal or a deadline in the middle of that leaves as ever.
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
"""The code of chaoslib's SIGUSR2 (chaoslib/exit.py): leave now, play no rollbacks. Healing is our own business."""

PLAY_ROLLBACKS = 20
"""The code of its SIGUSR1: leave now, and play the rollbacks."""

STOP_S = 10.0
"""How long what is played may take to end once the run was stopped; then it is left as one that is overdue."""

ASK_AGAIN_S = 0.25
"""How often a run that was told to leave is told again, and how often the deadlines are looked at."""

PATIENCE_S = 1.5
"""How long a run that was told to leave may take to do so; then it is ended over its head."""

END_S = 3.5
"""By then, counted from when the run was told to leave, its last heal is over; what is left of 5 s is for the rest."""

GONE_S = 30.0
"""By then, counted from when the run was told to leave, or its end to hurry, the process is gone: 5 s are usual."""

FINISHED_S = 240.0
"""What the end of a run has otherwise: to heal, to collect, to give everything back, to report. 10 s are usual."""

SHORTEST_HEAL_S = 1.2
"""What a heal has even then; entering a node takes 0.3 s on an idle machine."""


@dataclass(slots=True)
class Leaving:
    """Why a run is left: the first signal, or `overdue`, the activity whose time is up, with how long it had.

    `stopped`: its method goes no further; from when on its rollbacks are played it is `restoring`, and can't be stopped
    any more. `in_method`: chaoslib plays, which must not be disturbed between two activities. `forsaken` ends the run,
    and the process, without the main thread; `abandoned` ends the process, without the run's end.
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
        """Whether somebody has begun to end the run."""
        return self._ended.locked()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. It raises inside of what is played only: a run at its end is disturbed by nobody."""
        self.hear(number)
        if self.told and _is_played(frame):
            raise SystemExit(SKIP_ROLLBACKS)
        if self._stops and (_is_inside_an_activity(frame) if self.in_method else _is_played(frame)):
            raise SystemExit(PLAY_ROLLBACKS)

    def hear(self, number: int) -> None:
        """A signal came: the first one that finds the run being played is why it ends; at its end it hurries it."""
        if number in self.heeded and self.ending:
            self.hurried.set()
            self.be_gone_within(GONE_S)
        elif number in self.heeded and not self.told:
            self._told_s, self.signal_number = time.monotonic(), number
            self.be_gone_within(GONE_S)

    def leave(self) -> None:
        """Leave here if told so; for whoever is about to play something, in whichever thread."""
        if self.told:
            raise SystemExit(SKIP_ROLLBACKS)
        if self._stops:
            raise SystemExit(PLAY_ROLLBACKS)

    def stop(self) -> bool:
        """Let nothing more of the method begin; whether there was a run to stop. `interrupt` ends what plays."""
        with self._turning:
            may_stop = not (self.told or self.ending or self.restoring or self.stopped)
            self.stopped = self.stopped or may_stop
        return may_stop

    def interrupt(self) -> None:
        """End what is played, however often it has to be told, until the rollbacks are played or the run has ended."""
        main = threading.main_thread().ident or 0
        self._due[main] = _due("what was played when the run was stopped", STOP_S)
        end_all()
        while self._stops and not self.told and not self.ending:
            with suppress(ProcessLookupError):
                signal.pthread_kill(main, signal.SIGALRM)
            time.sleep(ASK_AGAIN_S)

    def restore(self) -> None:
        """The rollbacks are about to be played: from here on nothing stops the run but a signal, or a deadline."""
        with self._turning:
            self.restoring = True

    @property
    def _stops(self) -> bool:
        return self.stopped and not self.restoring

    def begin(self, what: str, within_s: float) -> None:
        """This thread does `what`, and will be done with it in time, or the run is left."""
        self._due[threading.get_ident()] = _due(what, within_s)

    def done(self, what_follows: str, within_s: float) -> None:
        """This thread is done. Where nobody else does anything, something begins anew in time, or the run is left."""
        self._due.pop(threading.get_ident(), None)
        self._gap = _due(what_follows, within_s)

    def look(self) -> None:
        """See whether anybody's time is up."""
        for deadline_s, sentence in tuple(self._due.values()) or (self._gap,):
            if time.monotonic() >= deadline_s and not self.told and not self.ending:
                self._told_s, self.overdue = time.monotonic(), sentence
                self.be_gone_within(GONE_S)

    def be_gone_within(self, within_s: float) -> None:
        """The process ends by then, with or without a verdict; an earlier moment stays."""
        self._gone_by_s = min(self._gone_by_s, time.monotonic() + within_s)

    def see_out(self, over: threading.Event) -> None:
        """Until `over`, see that nobody waits longer for the run's end than he has to."""
        while not over.wait(ASK_AGAIN_S):
            if time.monotonic() >= self._gone_by_s and self.abandoned:
                try:
                    self.abandoned(
                        "the run did not come to its end in time, so that what is left is not known"
                    )
                finally:
                    os._exit(Unsafe.exit_code)

    def play(self, what: Callable[[], None]) -> None:
        """Play `what` to its end or until it is left; then nobody else may end the run.

        Does not come back when somebody has ended it already: the process is about to be gone. Raises what `what` does.
        """
        try:
            _played(what)
        except SystemExit:
            pass
        finally:
            if not self.claim():
                threading.Event().wait()

    def claim(self) -> bool:
        """Whether the one who asks is to end the run: the first one is."""
        return self._ended.acquire(blocking=False)

    @property
    def told_for_s(self) -> float:
        """Seconds since the run was told to leave; 0 where it was not."""
        return time.monotonic() - self._told_s if self.told else 0.0

    def within_s(self, end_s: float) -> float:
        """Seconds that a heal has that is to be over `end_s` after the run was told to leave."""
        return max(SHORTEST_HEAL_S, end_s - self.told_for_s)

    def install(self) -> None:
        """Make this the handler of every signal that is heeded."""
        for number in (*self.heeded, signal.SIGALRM):
            signal.signal(number, self)


@contextmanager
def leaving_on_signals() -> Iterator[Leaving]:
    """Heed signals while the context lives; only in the main thread. A signal that is ignored (nohup) stays so."""
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
    """The frame by which a handler knows that something is being played."""
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
    """Interrupt the main thread again and again until the run has been left; in the end, leave without it.

    Scripts that run on nodes are ended first: whoever waits for one, in whichever thread, need not.
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
        finally:  # it does not come back; where it failed nobody else ends the run, and what is left is not known
            os._exit(Unsafe.exit_code)

"""Leaving a run on a signal, whatever the main thread is doing: within a fraction of a second, and only once.

A Python handler runs when the main thread comes back to bytecode. A signal that arrives just before a sleep begins
does not interrupt it, and what a handler raises is lost in a destructor or in an activity that swallows everything.
So a thread of our own hears of each signal through the wakeup descriptor (which the C handler writes) and keeps
interrupting the main thread until the run has been left.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

SKIP_ROLLBACKS = 30
"""The code of chaoslib's SIGUSR2 (chaoslib/exit.py): leave now, play no rollbacks. Healing is our own business."""

ASK_AGAIN_S = 0.25
"""How often a run that was told to leave is told again."""


@dataclass(slots=True)
class Leaving:
    """Whether a signal ended the run, and which: the first one. Once `healing`, signals wait: it is ending anyway."""

    heeded: tuple[signal.Signals, ...] = SIGNALS
    signal_number: int | None = None
    healing: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        if self.signal_number is None and not self.healing and number != signal.SIGALRM:
            self.signal_number = number
        self.leave()

    def leave(self) -> None:
        """Leave if a signal said so and the run has not been left yet."""
        if self.signal_number is not None and not self.healing:
            raise SystemExit(SKIP_ROLLBACKS)

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
    threading.Thread(target=_insist, args=(left, heard), name="leaving", daemon=True).start()
    wakeup = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    left.install()
    try:
        yield left
    finally:
        left.healing = True
        # SIGALRM keeps our handler, which does nothing now: a last one may be on its way, and its default is to kill.
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        written.close()


def _insist(left: Leaving, heard: socket.socket) -> None:
    """From the first signal on, interrupt the main thread again and again until the run has been left."""
    with heard:
        said = heard.recv(1)
        while said and not left.healing:
            time.sleep(ASK_AGAIN_S)
            with suppress(ProcessLookupError):
                if not left.healing:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

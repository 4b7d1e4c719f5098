"""Work beside the main one: in a process of its own, if there is a core for it."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from chaosext.cli.forked import has_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

Result = TypeVar("Result")


@contextmanager
def beside(work: Callable[[], Result], *, alone: bool = False) -> Iterator[Callable[[], Result]]:
    """Begin with `work`, and give a function that waits for its result; at the end, what is not done yet is ended.

    The process shares all that is loaded. With one core, `alone`, or if the process fails, the work is done when its
    result is asked for.
    """
    if alone or not has_cores():
        yield work
        return
    import multiprocessing

    how = multiprocessing.get_context("fork")
    receiver, sender = how.Pipe(duplex=False)
    process = how.Process(target=_send, args=(work, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield lambda: _received(receiver, work)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _send(work: Callable[[], Any], sender: Connection) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what fails here is done, and told, by the main process
    sender.send(work())


def _received(receiver: Connection, work: Callable[[], Result]) -> Result:
    try:
        found: Result = receiver.recv()
    except EOFError:
        return work()
    return found

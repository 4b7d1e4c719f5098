"""Standard output and error for us alone while others' code runs in this process and beneath it."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def own_streams() -> Iterator[tuple[IO[str], IO[str]]]:
    """Where to write output and errors; what anybody else prints meanwhile, their children too, goes nowhere.

    It may hold anything, an experiment's secrets included, and would tear `--json` apart.
    """
    with ExitStack() as stack:
        yield stack.enter_context(_own(sys.stdout)), stack.enter_context(_own(sys.stderr))


@contextmanager
def _own(stream: IO[str] | None) -> Iterator[IO[str]]:
    """A copy of `stream` that nobody else has; where it is no open file there is nothing to keep to ourselves."""
    shared = _descriptor(stream)
    if stream is None or shared is None:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            yield stream or nowhere
        return
    with open(os.dup(shared), "w", buffering=1, encoding="utf-8", errors="backslashreplace") as own:  # noqa: PTH123
        _lead_nowhere(shared)
        try:
            yield own
        finally:
            with suppress(OSError):
                stream.flush()
            os.dup2(own.fileno(), shared)


def _descriptor(stream: IO[str] | None) -> int | None:
    try:
        if stream:
            stream.flush()
        return stream.fileno() if stream else None
    except (OSError, ValueError):
        return None


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)

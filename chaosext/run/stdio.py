"""Keeps standard output and error for chaosext while foreign code runs in this process and its children."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from chaosext.experiment.journal_redaction import FAILED, error_form, form
from chaosext.model.printable import one_line
from chaosext.model.redact import veiled

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def own_streams() -> Iterator[tuple[IO[str], IO[str]]]:
    """Streams for output and errors; whatever other code and its children print meanwhile is discarded.

    It may contain anything, an experiment's secrets included, and would break `--json`.
    """
    with ExitStack() as stack:
        yield stack.enter_context(_own(sys.stdout)), stack.enter_context(_own(sys.stderr))


@contextmanager
def _own(stream: IO[str] | None) -> Iterator[IO[str]]:
    """A private copy of `stream`; without an open file there is nothing to copy."""
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


FAILURE = "  => failed: "
"""Prefix of chaoslib's line about an activity that raised (chaoslib/activity.py)."""

RUNNER = ("chaoslib", "chaostoolkit")
TRUSTED = ("chaosext", "chaosk8s")
"""Packages whose lines are kept, without secrets. Of other packages' lines only the form is kept."""

_HARMLESS = (
    "  => succeeded without",
    "Activity '",
    "Activity failed",
    "Applying ",
    "Cleaning up ",
    "Control '",
    "Initializing ",
    "Loading ",
    "No controls ",
    "Running steady-state hypothesis",
    "Searching for ",
    "activity will run",
    "allowed tolerance is",
)
"""Prefixes of the runner's debug lines that quote names only; others quote values, commands, output."""

_VERDICTS = ("Steady state probe '", "Experiment ran into an un expected fatal error")
"""Prefixes of the runner's own fatal lines; others quote whatever was raised."""


class Discreet(logging.Filter):
    """Passes every record, without secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if record.exc_info else None
        named = f" ({error.__name__})" if error else ""
        record.msg, record.args = one_line(veiled(_sayable(record) + named)), ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def be_discreet() -> None:
    """Redact Chaos Toolkit's log from now on. Idempotent."""
    logger = logging.getLogger("chaostoolkit")
    if not any(isinstance(each, Discreet) for each in logger.filters):
        logger.addFilter(Discreet())


@contextmanager
def logging_for_ourselves() -> Iterator[None]:
    """Keep Chaos Toolkit's console; discard what activities and their children print."""
    shared = {sys.stdout: 0, sys.stderr: 1}
    handlers = [
        each for each in logging.getLogger("chaostoolkit").handlers if type(each) is logging.StreamHandler
    ]
    streams = [(each, each.stream) for each in handlers if each.stream in shared]
    with own_streams() as own:
        for handler, stream in streams:
            handler.setStream(own[shared[stream]])
        try:
            yield
        finally:
            for handler, stream in streams:
                handler.setStream(stream)


def _sayable(record: logging.LogRecord) -> str:
    said, package = record.getMessage(), _package(record.pathname)
    if package in TRUSTED:
        return said
    if package not in RUNNER:
        return f"{record.module}: {form(said)}"
    if said.startswith(FAILURE):
        return _failure(said.removeprefix(FAILURE))
    if record.levelno == logging.DEBUG:
        return said if said.startswith(_HARMLESS) else str(form(said))
    if record.levelno == logging.CRITICAL:
        return said if said.startswith(_VERDICTS) else str(form(said))
    return said


def _failure(said: str) -> str:
    if said.startswith("chaosext."):
        return f"{FAILURE}{said}"
    return f"{FAILURE}{error_form(FAILED + said).removeprefix(FAILED)}"


@cache
def _package(path: str) -> str:
    """The known package of a source file; "" for any other."""
    return next((name for name in (*RUNNER, *TRUSTED) if _home(name) in Path(path).parents), "")


@cache
def _home(package: str) -> Path | None:
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None

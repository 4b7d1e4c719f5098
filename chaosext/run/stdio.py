"""Standard output and error for us alone while others' code runs in this process and beneath it."""

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


FAILURE = "  => failed: "
"""What chaoslib's line about an activity that raised begins with (chaoslib/activity.py)."""

RUNNER = ("chaoslib", "chaostoolkit")
TRUSTED = ("chaosext", "chaosk8s")
"""Packages whose lines are kept, secrets taken out. Of everybody else's only the form is."""

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
"""How the runner's lines for debugging begin that quote names only; its others quote values, commands, answers."""

_VERDICTS = ("Steady state probe '", "Experiment ran into an un expected fatal error")
"""How the runner's own fatal lines begin; its others quote whatever was raised."""


class Discreet(logging.Filter):
    """Lets every record through, and of each only what may be said."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if record.exc_info else None
        named = f" ({error.__name__})" if error else ""
        record.msg, record.args = one_line(veiled(_sayable(record) + named)), ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def be_discreet() -> None:
    """From here on Chaos Toolkit's logger says no more than it may; asked again, nothing changes."""
    logger = logging.getLogger("chaostoolkit")
    if not any(isinstance(each, Discreet) for each in logger.filters):
        logger.addFilter(Discreet())


@contextmanager
def logging_for_ourselves() -> Iterator[None]:
    """Chaos Toolkit's console goes on; what activities and their children print beside it goes nowhere."""
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
    """Which of the known packages a source file is of; "" for anybody else's."""
    return next((name for name in (*RUNNER, *TRUSTED) if _home(name) in Path(path).parents), "")


@cache
def _home(package: str) -> Path | None:
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None

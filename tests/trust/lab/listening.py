"""Who asks the API server, and on whose behalf: every HTTP request of a process, as Python's own audit events tell it.

`TRUST_CALLS` names the file: a line `SECONDS THREAD undo|other EVENT` a request (boot clock). `undo` means that the
request was made from within the healing of a cut, whatever its thread.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.trust.lab.clock import now_s

if TYPE_CHECKING:
    from pathlib import Path

CALLS = "TRUST_CALLS"
EVENTS = ("http.client.connect", "http.client.send")
"""Audit events of http.client, which urllib3 stands on (docs.python.org, "Audit events table")."""

UNDO = ("chaosext.run.fault.heal", "chaosext.partition.apply", "chaosext.cleanup.removal")
MAKING = "chaosext.run.fault.inject"
"""Where a cut is decided on, in the middle of its arming: pin and limits are looked up there."""


def listen() -> None:
    """Write every request down from now on, where that was asked for."""
    path = os.environ.get(CALLS)
    if not path:
        return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(event: str, _: tuple[Any, ...]) -> None:
        if event in EVENTS:
            why = "undo" if _of_undo() else "other"
            os.write(handle, f"{now_s():.6f} {threading.current_thread().name} {why} {event}\n".encode())

    sys.addaudithook(note)


def _of_undo() -> bool:
    """Whether the innermost of these modules is one that undoes."""
    frame = sys._getframe()
    while frame:
        name = frame.f_globals.get("__name__")
        if name in (*UNDO, MAKING):
            return name in UNDO
        frame = frame.f_back  # type: ignore[assignment]
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    at_s: float
    of_undo: bool
    line: str


def calls(path: Path) -> tuple[Call, ...]:
    """What was written down."""
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple(Call(at_s=float(line.split()[0]), of_undo=" undo " in line, line=line) for line in lines)

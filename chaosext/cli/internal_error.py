"""What a bug in chaosext leaves: a line on stderr, and a file with all that a report of it needs."""

from __future__ import annotations

import os
import platform
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext import __version__
from chaosext.model.files import OWNER_ONLY, write_whole
from chaosext.model.paths import state_home
from chaosext.model.printable import say_document, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "internal-error.txt"
"""In the user's directory of state; the newest error only."""


def reported(error: Exception, arguments: Sequence[str]) -> tuple[str, str]:
    """Return what happened and where, in a line, and what to do; prints the traceback only if that is asked for."""
    trace = "".join(traceback.format_exception(error))
    if os.environ.get("CHAOSEXT_DEBUG") or {"-v", "--verbose"}.intersection(arguments):
        say_document(trace, err=True)
    said = " ".join(str(error).split())
    kept = _kept(f"chaosext {__version__}, Python {platform.python_version()}\n{list(arguments)}\n{trace}")
    fix = (
        f"please report it with {kept}"
        if kept
        else "please report it, with the output of the same command and -v"
    )
    return f"internal error in {_place(error)}: {type(error).__name__}: {said:.300}", fix


def _place(error: Exception) -> str:
    """Return the innermost line of chaosext's own code."""
    package = str(Path(__file__).resolve().parents[1])
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(package)
    ]
    frame = frames[-1] if frames else None
    return f"{Path(frame.filename).relative_to(Path(package).parent)}:{frame.lineno}" if frame else "chaosext"


def _kept(text: str) -> Path | None:
    """Write the text, without secrets, where the next error replaces it; None if that fails."""
    path = state_home() / FILE
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, shown(text), fsync=False, mode=OWNER_ONLY)
        return path
    return None

"""Cached builds in the user's cache, named by a hash of their inputs.

Each is written to a temporary directory and renamed once it is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError
from chaosext.model.paths import cache_home
from chaosext.testbed.bed_lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

KEY_DIGITS = 12
PARTIAL = ".partial"


def key_of(inputs: object) -> str:
    """Return a short hash of JSON-like `inputs`."""
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


@contextmanager
def writable_cache() -> Iterator[None]:
    """Turn errors of the file system (full, read-only, not permitted) into a `ChaosextError` with a fix."""
    try:
        yield
    except OSError as error:
        where = error.filename or cache_home()
        raise ChaosextError(
            f"{where}: {error.strerror or error}", f"check free space and permissions of {cache_home()}"
        ) from error


def log_file(name: str) -> Path:
    """Return the path of the log of the build called `name`; its directory exists."""
    path = cache_home() / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def kept(
    name: str,
    inputs: object,
    build: Callable[[Path], object],
    announce: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Path:
    """Return the cached directory `name-KEY`; `build` fills it if it does not exist (it gets an empty one).

    `announce` returns a context manager that is entered while `build` runs, such as a stage of a `Progress`.
    A build that fails or is interrupted leaves nothing under the final name. No two processes build the same
    directory at once.
    """
    target = _place(name, inputs)
    if target.is_dir():
        return target
    with announce(), locked(target.name):
        if not target.is_dir():
            _build_aside(target, build)
    return target


def is_kept(name: str, inputs: object) -> bool:
    """Return whether `kept` would return at once."""
    return _place(name, inputs).is_dir()


def _place(name: str, inputs: object) -> Path:
    return cache_home() / f"{name}-{key_of(inputs)}"


def _build_aside(target: Path, build: Callable[[Path], object]) -> None:
    """Build in `target`.partial and rename it.

    A failed build stays there for inspection until the next attempt.
    """
    aside = target.with_name(f"{target.name}{PARTIAL}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    build(aside)
    aside.rename(target)

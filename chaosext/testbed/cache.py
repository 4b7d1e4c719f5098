"""Finished builds, kept in the user's cache under a hash of what went into them: written aside, renamed when done."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from chaosext.model.places import cache_home
from chaosext.testbed.lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY_DIGITS = 12


def key_of(inputs: object) -> str:
    """A short hash of JSON-like `inputs`: the same inputs, the same key."""
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def log_file(name: str) -> Path:
    """Where the output of the build called `name` goes."""
    path = cache_home() / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def kept(name: str, inputs: object, build: Callable[[Path], None]) -> Path:
    """The directory `name-KEY`, filled by `build` (given an empty directory) unless it is there already.

    A build that fails or is interrupted leaves nothing under that name. Two processes don't build the same at once.
    """
    target = cache_home() / f"{name}-{key_of(inputs)}"
    if target.is_dir():
        return target
    with locked(target.name):
        if not target.is_dir():
            _build_aside(target, build)
    return target


def is_kept(name: str, inputs: object) -> bool:
    """Whether `kept` would return at once."""
    return (cache_home() / f"{name}-{key_of(inputs)}").is_dir()


def _build_aside(target: Path, build: Callable[[Path], None]) -> None:
    aside = target.with_name(f"{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    build(aside)
    aside.rename(target)

"""The run of this process: its id, its directory, its timeline. Plain `chaos run` gets one at first use."""

from __future__ import annotations

import getpass
import re
import socket
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chaosext.model.names import RunId
from chaosext.run.session.audit_trail import Trail
from chaosext.run.session.run_directory import RunDirectory
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.model.stopped import Stopped
    from chaosext.timeline.recorder import Sink


T = TypeVar("T")


class Key(Generic[T]):
    """The key of one entry; `make` gives the entry's value when it is first read."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make


class Stash(dict[Key[Any], Any]):
    """Entries by key. Reading one that is not there yet makes it."""

    def __missing__(self, key: Key[Any]) -> Any:
        return self.setdefault(key, key.make())

    if TYPE_CHECKING:

        def __getitem__(self, key: Key[T]) -> T: ...

        def __setitem__(self, key: Key[T], value: T) -> None: ...


@dataclass(slots=True)
class RunContext:
    """One run: its identity, where it writes, its progress. What packages keep about it is in its `stash`.

    Attributes:
        strict: Set by `chaosext run`, which derives the verdict itself; under plain `chaos run` the control does.
        lasts_s: How many seconds the run may take from when it takes its lock (None: unknown).
        trail: Its audit trail.
        method_began: Whether the method began.
        gate_failed: Whether the steady state was not met before the method, which then did not run.
        stopped: Why it was stopped early, if it was.
        doing: The current activity, and since when (monotonic seconds).
    """

    id: str
    owner: str
    directory: RunDirectory
    recorder: Recorder
    strict: bool = False
    lasts_s: float | None = None
    trail: Trail = field(init=False)
    method_began: bool = False
    gate_failed: bool = False
    stopped: Stopped | None = None
    doing: tuple[str, float] = ("", 0.0)
    stash: Stash = field(default_factory=Stash)

    def __post_init__(self) -> None:
        self.trail = Trail(run=self.id, owner=self.owner)


_current: RunContext | None = None


def start(*, strict: bool = False, root: Path | None = None, sink: Sink | None = None) -> RunContext:
    """Start a new run. Raises `Refused` if its directory can't be created."""
    global _current
    run = RunId.new()
    directory = RunDirectory(run, root)
    recorder = Recorder(directory.inside / "timeline.jsonl", sink=sink)
    _current = RunContext(id=run, owner=owner(), directory=directory, recorder=recorder, strict=strict)
    return _current


def current() -> RunContext:
    """The run of this process; starts one if there is none yet."""
    return _current or start()


@cache
def _run_of_no_run() -> str:
    return RunId.new()


def run_id() -> str:
    """The id of the run of this process; a new id if there is no run."""
    return _current.id if _current else _run_of_no_run()


def begun() -> RunContext | None:
    """The run of this process; None if there is none yet."""
    return _current


def owner() -> str:
    """Who runs this, as `user@host`, in the letters that a rule's comment allows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry, common in containers
        user = "unknown"
    return re.sub(r"[^A-Za-z0-9@._-]", "_", f"{user}@{socket.gethostname()}")[:40]

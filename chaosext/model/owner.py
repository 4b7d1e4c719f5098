"""The process that holds a lock, identified precisely enough to know when it has died."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.clock import boot_id
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_START_TIME = 19
"""Index of `starttime` (field 22, clock ticks since boot) after the command's closing bracket (proc(5),
/proc/pid/stat)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process: where it runs (`host`, `boot`, `pids`: its PID namespace) and which one it is (`pid`, `started`).

    `started` is in clock ticks since boot: it distinguishes processes that reuse a process ID.
    """

    host: str
    boot: str
    pids: str
    pid: int
    started: int

    @property
    def is_here(self) -> bool:
        """Whether its end could be seen from here: it belongs to this boot and this PID namespace.

        The boot distinguishes machines: hosts may share a name, as fresh virtual machines do.
        """
        here = me()
        return (self.boot, self.pids) == (here.boot, here.pids)

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended: it is visible from here and no longer exists.

        A process of an earlier boot is never known to be dead; its locks expire by themselves.
        """
        return self.is_here and _has_ended(self.pid, self.started)

    def __str__(self) -> str:
        """One word without spaces or commas, so that it fits an nftables comment and a Kubernetes annotation."""
        return f"{self.host}/{self.boot}/{self.pids}/{self.pid}/{self.started}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the output of `str`. Raises ValueError for anything else."""
        host, boot, pids, pid, started = text.split("/")
        return cls(host=host, boot=boot, pids=pids, pid=int(pid), started=int(started))

    def to_json(self) -> dict[str, Any]:
        return {"holder": str(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls.parse(str(value["holder"]))


def me() -> Holder:
    """Identify this process."""
    pid = os.getpid()
    words = _stat(pid)
    return Holder(
        host=os.uname().nodename,
        boot=boot_id().partition("-")[0],
        pids=_pid_namespace(),
        pid=pid,
        started=int(words[_START_TIME]) if words else 0,
    )


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).partition(":")[2].strip("[]")
    except OSError:
        return "unknown"


def _has_ended(pid: int, started: int) -> bool:
    """Whether the process is gone or a zombie, or another one has its ID."""
    words = _stat(pid)
    if words is None:  # or it belongs to another user and /proc is mounted with hidepid (proc(5))
        return not _exists(pid)
    return words[0] in ("Z", "X") or int(words[_START_TIME]) != started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


def _stat(pid: int) -> list[str] | None:
    """The fields after the command in /proc/pid/stat; None if it cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


LOCK_S = 60
"""Seconds that a lock stays valid without renewal: long enough for three failed renewals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request for a lock: `run` (lower-case letters and digits), `owner` (`user@host`), and the process `holder`.

    `lasts_s`: how long the run may take, counted from when it takes its lock; None: unknown.
    """

    run: str
    owner: str
    holder: Holder = field(default_factory=me)
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFacts:
    """A lock as read. `owner` ("") and `holder` (None) are empty if unreadable, or if they were dropped at its expiry.

    `remaining_s`: whole seconds, rounded down. `run` is "" if the lock names none; if live, it was not made
    by chaosext. `delete_with`: the command that deletes a lock whose expiry is unreadable; "" for all others.
    `over` and `cut_over`: when its run and its current cut end at the latest; None if unknown.
    """

    run: str
    owner: str
    holder: Holder | None
    remaining_s: int
    is_live: bool
    delete_with: str = ""
    over: datetime | None = None
    cut_over: datetime | None = None

    @property
    def may_be_taken(self) -> bool:
        """Whether it has expired, or its holder is known to have ended."""
        return not self.is_live or (self.holder is not None and self.holder.is_dead)

    def keeps_out(self, run: str) -> bool:
        """Whether another run holds it and may still need it."""
        return self.run != run and not self.may_be_taken

    def refusal(self, where: str) -> Refused:
        """The refusal of a run that wants this lock: who holds `where`, until when, and what to do."""
        if not self.run:
            return Refused(
                f"lock: {where} is locked by something that chaosext did not make",
                "check what it is, and delete it if it is not needed",
            )
        if self.delete_with:
            return Refused(
                f"lock: {self} holds {where}, and until when can't be read: it does not expire by itself",
                f"see whether that run lives (`chaosext status`); where it does not, `{self.delete_with}`",
            )
        return Refused(
            f"lock: {self} holds {where} {self.until}",
            f"wait for it, or end it by `chaosext abort --run {self.run}`; "
            f"if it died, `chaosext cleanup --run {self.run}`",
        )

    @property
    def until(self) -> str:
        """When the run ends at the latest or, if that is unknown, how long the lock stays after the run."""
        cut = f"its cut ends by {self.cut_over:%H:%M:%S} UTC, " if self.cut_over else ""
        if self.over:
            return f"({cut}the run is over by {self.over:%H:%M:%S} UTC)"
        return f"({cut}renewed while the run lives, else it expires in {self.remaining_s} s)"

    def __str__(self) -> str:
        return f"run {self.run} of {self.owner or 'unknown'}"


def parsed(text: str | None) -> Holder | None:
    """Parse the output of `str(holder)`; None for anything else."""
    try:
        return Holder.parse(text or "")
    except ValueError:
        return None


def attended(run: str, holder: Holder | None, lock: LockFacts | None) -> bool:
    """Whether `run` may be alive: its process (`holder`) is seen here, or it owns the cluster's Lease (`lock`)."""
    if holder is not None and holder.is_here:
        return not holder.is_dead
    return lock is not None and lock.run == run and not lock.may_be_taken


def shortened(holder: Holder, length: int) -> Holder:
    """Shorten the host name so that `str(holder)` has at most `length` characters."""
    beyond = len(str(holder)) - length
    return holder if beyond <= 0 else replace(holder, host=holder.host[:-beyond])

"""Who holds something: a process, told from all others, so that one that died can be known dead."""

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
"""Index of `starttime` (field 22, clock ticks since boot) behind the command's bracket; proc(5), /proc/pid/stat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process: where it runs (`host`, `boot`, `pids`: its PID namespace) and which it is there (`pid`, `started`).

    `started` is in clock ticks since boot: process ids are given anew, with another start.
    """

    host: str
    boot: str
    pids: str
    pid: int
    started: int

    @property
    def is_here(self) -> bool:
        """Whether it could be seen from here if it had ended: it is of this very boot and PID namespace.

        The boot tells machines apart: hosts may share a name, as fresh virtual machines do.
        """
        here = me()
        return (self.boot, self.pids) == (here.boot, here.pids)

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended: one that is seen from here, and is no more.

        Of an earlier boot nothing is known; what it held expires by itself.
        """
        return self.is_here and _has_ended(self.pid, self.started)

    def __str__(self) -> str:
        """One word, without blanks or commas: fits a comment of nft's and an annotation of Kubernetes'."""
        return f"{self.host}/{self.boot}/{self.pids}/{self.pid}/{self.started}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` wrote. Raises ValueError for anything else."""
        host, boot, pids, pid, started = text.split("/")
        return cls(host=host, boot=boot, pids=pids, pid=int(pid), started=int(started))

    def to_json(self) -> dict[str, Any]:
        return {"holder": str(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls.parse(str(value["holder"]))


def me() -> Holder:
    """This process."""
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
    """Whether the process is no more, or is only what is left of one (a zombie)."""
    words = _stat(pid)
    if words is None:  # or it is another user's, and /proc is mounted with hidepid (proc(5))
        return not _exists(pid)
    return words[0] in ("Z", "X") or int(words[_START_TIME]) != started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _stat(pid: int) -> list[str] | None:
    """What follows the command in the process' `stat`; None where that can't be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


LOCK_S = 60
"""How long a lock holds when nobody renews it, in seconds: three of its holder's renewals may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`run` (lower-case letters and digits) of `owner` (`user@host`), for which the process `holder` acts.

    `lasts_s`: how long the run may take, counted from when it takes its lock; None: nobody knows.
    """

    run: str
    owner: str
    holder: Holder = field(default_factory=me)
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFacts:
    """A lock as found. `owner` and `holder` are "" and None when unreadable, or forgotten at its expiry.

    `remaining_s`: whole seconds, rounded down. `run` is "" where none is named: live then means that it isn't ours.
    `delete_with`: the command that deletes a lock of which nobody can read until when it holds; "" for all others.
    `over` and `cut_over`: by when its run, and the cut in force, are over; None where that is not known.
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
        """Whether its time is over, or the process that held it is known to have ended."""
        return not self.is_live or (self.holder is not None and self.holder.is_dead)

    def keeps_out(self, run: str) -> bool:
        """Whether it is another's, who may need it still."""
        return self.run != run and not self.may_be_taken

    def refusal(self, where: str) -> Refused:
        """What to tell who wants it: who holds `where`, by when that is over, and what to do."""
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
        """By when it is over; where only the lock itself is known, how long it outlives its run."""
        cut = f"its cut ends by {self.cut_over:%H:%M:%S} UTC, " if self.cut_over else ""
        if self.over:
            return f"({cut}the run is over by {self.over:%H:%M:%S} UTC)"
        return f"({cut}renewed while the run lives, else it expires in {self.remaining_s} s)"

    def __str__(self) -> str:
        return f"run {self.run} of {self.owner or 'unknown'}"


def parsed(text: str | None) -> Holder | None:
    """What `str(holder)` wrote; None for anything else."""
    try:
        return Holder.parse(text or "")
    except ValueError:
        return None


def attended(run: str, holder: Holder | None, lock: LockFacts | None) -> bool:
    """Whether `run` may live: its process (`holder`) is seen here, or the cluster's Lease (`lock`) is its own."""
    if holder is not None and holder.is_here:
        return not holder.is_dead
    return lock is not None and lock.run == run and not lock.may_be_taken


def shortened(holder: Holder, length: int) -> Holder:
    """The same process, its host's name cut so that `str` of it has `length` characters at the most."""
    beyond = len(str(holder)) - length
    return holder if beyond <= 0 else replace(holder, host=holder.host[:-beyond])

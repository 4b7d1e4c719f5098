"""Who holds something: a process, told from all others, so that one that died can be known dead."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Mapping

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

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
    def is_dead(self) -> bool:
        """Whether it is known to have ended: one of this very boot and PID namespace that is no more.

        The boot tells machines apart: hosts may share a name, as fresh virtual machines do. Of an earlier boot nothing
        is known; what it held expires by itself.
        """
        here = me()
        seen_from_here = (self.boot, self.pids) == (here.boot, here.pids)
        return seen_from_here and _started(self.pid) != self.started

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
    return Holder(
        host=os.uname().nodename,
        boot=boot_id().partition("-")[0],
        pids=_pid_namespace(),
        pid=pid,
        started=_started(pid) or 0,
    )


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).partition(":")[2].strip("[]")
    except OSError:
        return "unknown"


def _started(pid: int) -> int | None:
    """None where there is no such process, or only what is left of one that ended (a zombie)."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in ("Z", "X") else int(words[_START_TIME])

"""What a run has changed at an entry, in the intent log: written before the change, so that a crash leaves word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.entry import Failover
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.safety.intent import Entry

CHANGING = "entry_changing"
"""Event: a cluster is about to be drained from an entry, or left to hands. Carries `entry` and `cluster`."""

AS_FOUND = "entry_as_found"
"""Event: the entry treats the cluster again as the run had found it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A cluster that a run has changed at an entry, and not put back. `failover`: who might take it out before."""

    run: str
    entry: str
    cluster: str
    failover: Failover = Failover.HEALTH_CHECK

    @property
    def said(self) -> str:
        """What is left, and how to put it back."""
        return (
            f"run {self.run} has left cluster {self.cluster} drained from the entry {self.entry}: {self.fix}"
        )

    @property
    def fix(self) -> str:
        """How to put it back."""
        return f"once it is well, `chaosext entry restore {self.cluster} --entry {self.entry}`"


def write_changing(change: Changed) -> None:
    """Raises `Inconclusive` where it can't be written: then nothing may be changed."""
    _write(CHANGING, change)


def write_as_found(change: Changed) -> None:
    """Raises `Inconclusive` where it can't be written."""
    _write(AS_FOUND, change)


def changed(entries: Iterable[Entry]) -> tuple[Changed, ...]:
    """What was changed at entries and not put back, the oldest first. Pure."""
    found: dict[Changed, None] = {}
    for entry in entries:
        if entry["event"] not in (CHANGING, AS_FOUND):
            continue
        change = _read(entry)
        if entry["event"] == CHANGING:
            found[change] = None
        else:  # whoever put it back: it is no run's any more
            found = {
                each: None for each in found if (each.entry, each.cluster) != (change.entry, change.cluster)
            }
    return tuple(found)


def _read(entry: Entry) -> Changed:
    failover = entry.get("failover")
    return Changed(
        run=entry["run"],
        entry=str(entry.get("entry")),
        cluster=str(entry.get("cluster")),
        failover=Failover(failover) if failover in tuple(Failover) else Failover.HEALTH_CHECK,
    )


def _write(event: str, change: Changed) -> None:
    what = {"entry": change.entry, "cluster": change.cluster, "failover": change.failover.value}
    intent_log().write({"event": event, "run": change.run, "nodes": [], **what})

"""Objects that are known to be unhealthy, and accepted as they are until a date. Pure.

A cluster that is never fully healthy can still be judged: what was unhealthy at the baseline, and is named with a
reason and an expiry, does not count while it is as it was, or better. Anything worse counts, and so does all else.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.findings import Status, worst
from chaosext.model.stable_names import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from chaosext.model.findings import Evidence, Finding

HERE = " → "
"""What stands between a node and what is looked at from there, in a finding's subject."""

NODES = "nodes_ready"
"""The check that says which nodes are dead."""

WELL = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUnhealthy:
    """That `object` is unhealthy in the check named `check` is known, and accepted until `until`, for a `reason`.

    `object` is a subject of the check's evidence; of a Pod without what is new in each (`Pod/shop/cart-*`), and of what
    is seen from a node the node alone (`Node/worker-1`). `was`: how much of it was well when that was written down,
    such as "1 of 3"; "" where nobody said, so that whatever is found at the next baseline is what it was.
    """

    check: str
    object: str
    reason: str
    until: datetime
    was: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.object}"

    def covers(self, subject: str) -> bool:
        return (
            subject == self.object
            or subject.startswith(self.object + HERE)
            or lasting(subject) == self.object
        )

    @property
    def at_least(self) -> Fraction | None:
        """How much of it must be well; None where nobody said."""
        return share_of(self.was) if self.was else None

    def to_json(self) -> dict[str, str]:
        return {
            "check": self.check,
            "object": self.object,
            "reason": self.reason,
            "until": self.until.isoformat(),
            **({"was": self.was} if self.was else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        from datetime import datetime

        texts = {name: str(value[name]) for name in ("check", "object", "reason")}
        return cls(**texts, until=datetime.fromisoformat(value["until"]), was=str(value.get("was", "")))


def coarse(subject: str) -> str:
    """The object that an entry names for a subject: the node that it is seen from, or the Pod without its suffix."""
    return subject.partition(HERE)[0] if subject.startswith("Node/") else lasting(subject)


def share_of(text: str) -> Fraction:
    """`1 of 3` as a number. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) of (\d{1,9})", text)
    if not match or not Fraction(match[1]) <= Fraction(match[2]) != 0:
        raise ValueError(f"{text!r} is not a share such as '1 of 3'")
    return Fraction(match[1]) / Fraction(match[2])


@dataclass(frozen=True, slots=True)
class Measured:
    """How much of what an entry covers was well: `good` of `total`; whether some of it was not, or not known to be."""

    good: Fraction
    total: int
    unhealthy: bool
    unknown: bool

    @property
    def share(self) -> Fraction:
        return self.good / self.total

    def __str__(self) -> str:
        """`2 of 3`, rounded down to hundredths, so that what is read back is never more than it was."""
        return f"{math.floor(self.good * 100) / 100:g} of {self.total}"


def measure(entry: KnownUnhealthy, finding: Finding) -> Measured | None:
    """How what `entry` covers is by `finding`; None where the finding is of another check, or has nothing of it."""
    rows = [row for row in finding.evidence if row.counts and not row.vital and entry.covers(row.subject)]
    if entry.check != finding.check or not rows:
        return None
    statuses = {row.status for row in rows}
    good, total = sum((row.well for row in rows), Fraction(0)), len(rows)
    if len(rows) == 1 and rows[0].share:
        good, total = Fraction(rows[0].share[0]), rows[0].share[1]
    return Measured(good, total, Status.UNHEALTHY in statuses, Status.UNKNOWN in statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The entries in force. `before`: how much of each was well at the baseline; None: there is no baseline yet.

    `dead`: nodes that are NotReady, and known to be so: what can't be asked from there is excused as well, where it is
    named. An entry that `before` does not hold was well then, or not there, so that nothing of it is excused.
    """

    entries: tuple[KnownUnhealthy, ...] = ()
    before: Mapping[KnownUnhealthy, Fraction] | None = None
    dead: frozenset[str] = field(default_factory=frozenset)

    def excuse(self, finding: Finding, *, otherwise: Status = Status.UNKNOWN) -> Finding:
        """`finding` without what is known and no worse; `otherwise` is its status where nothing else is left."""
        rows, excused = list(finding.evidence), 0
        for entry in self.entries:
            found = measure(entry, finding)
            if found is None or not (found.unhealthy or found.unknown):
                continue
            no_worse = found.share >= self._limit(entry)
            for at, row in enumerate(rows):
                if row.counts and entry.covers(row.subject) and self._is_excusable(row):
                    rows[at] = _judged(row, entry, found, no_worse)
                    excused += no_worse
        if not excused:
            return replace(finding, evidence=tuple(rows))
        left = [row.status for row in rows if row.counts and not row.known]
        status = worst(left) if left else otherwise
        return replace(finding, status=status, summary=_summary(finding, rows, status), evidence=tuple(rows))

    def _limit(self, entry: KnownUnhealthy) -> Fraction:
        """How much of it must be well: as at the baseline, and no less than when it was written down."""
        written = entry.at_least or Fraction(0)
        return written if self.before is None else max(written, self.before.get(entry, WELL))

    def _is_excusable(self, row: Evidence) -> bool:
        """What is unknown never is, but for what can't be asked from a node that is known to be dead."""
        if row.vital or row.known:
            return False
        return row.status is Status.UNHEALTHY or (
            row.status is Status.UNKNOWN and coarse(row.subject) in self.dead
        )


def _judged(row: Evidence, entry: KnownUnhealthy, found: Measured, no_worse: bool) -> Evidence:
    if no_worse:
        return replace(row, known=entry.reason)
    return replace(row, detail=f"{row.detail} (known, and worse than before: {found} well)")


def _summary(finding: Finding, rows: Iterable[Evidence], status: Status) -> str:
    """What is known comes last; what a finding said of it first is no news, where nothing else is wrong."""
    known = dict.fromkeys(coarse(row.subject) for row in rows if row.known)
    first, *more = known
    said = f"known and no worse: {first}" + (f" and {len(more)} more" if more else "")
    if status is Status.HEALTHY:
        return f"all else is well; {said}"
    bad = next(
        (row for row in rows if row.counts and not row.known and row.status is not Status.HEALTHY), None
    )
    return f"{bad.subject}: {bad.detail}; {said}" if bad else f"nothing else is left to judge; {said}"


def entries_of(findings: Iterable[Finding], *, until: datetime, reason: str) -> tuple[KnownUnhealthy, ...]:
    """An entry for each object that is unhealthy in `findings`, and for what can't be asked from a dead node."""
    listed = tuple(findings)
    dead = {
        row.subject
        for finding in listed
        if finding.check == NODES
        for row in finding.evidence
        if row.status is Status.UNHEALTHY
    }
    found = {
        (finding.check, coarse(row.subject)): finding
        for finding in listed
        for row in finding.evidence
        if row.counts
        and not row.vital
        and (row.status is Status.UNHEALTHY or (row.status is Status.UNKNOWN and coarse(row.subject) in dead))
    }
    return tuple(_entry(*key, finding, until, reason) for key, finding in found.items())


def _entry(check: str, name: str, finding: Finding, until: datetime, reason: str) -> KnownUnhealthy:
    entry = KnownUnhealthy(check=check, object=name, reason=reason, until=until)
    return replace(entry, was=str(measure(entry, finding)))


class Became(StrEnum):
    """What became of something known from the baseline to the end."""

    SAME = "as before"
    BETTER = "better"
    WORSE = "worse"
    NO_MATCH = "matches nothing"
    """Nothing that it names was unhealthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownObject:
    """An entry in a run: how much of it was well at the baseline and at the end, "" where nothing of it was asked."""

    entry: KnownUnhealthy
    at_baseline: str
    at_end: str
    became: Became

    @property
    def said(self) -> str:
        """`probes_healthy: Pod/shop/cart-*, 1 of 3 well, as before; CHG-4711, until 2026-12-24 00:00 UTC`."""
        well = f"{self.at_end or self.at_baseline} well, " if self.at_end or self.at_baseline else ""
        until = f"until {self.entry.until:%Y-%m-%d %H:%M} UTC"
        return f"{self.entry}, {well}{self.became.value}; {self.entry.reason}, {until}"

    def to_json(self) -> dict[str, str]:
        said = {"at_baseline": self.at_baseline, "at_end": self.at_end, "became": self.became.value}
        return self.entry.to_json() | said

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        return cls(
            entry=KnownUnhealthy.from_json(value),
            at_baseline=str(value["at_baseline"]),
            at_end=str(value["at_end"]),
            became=Became(value["became"]),
        )


def became(entry: KnownUnhealthy, before: Measured | None, after: Measured | None) -> KnownObject:
    """What became of `entry`. `before`: None where nothing of it was unhealthy at the baseline."""
    was = before.share if before else WELL
    now = after.share if after else was
    change = Became.SAME if now == was else Became.BETTER if now > was else Became.WORSE
    if before is None and change is Became.SAME:
        change = Became.NO_MATCH
    said = (str(each) if each else "" for each in (before, after))
    return KnownObject(entry=entry, at_baseline=next(said), at_end=next(said), became=change)


def expired(entries: Iterable[KnownUnhealthy], now: datetime) -> tuple[KnownUnhealthy, ...]:
    return tuple(entry for entry in entries if entry.until <= now)

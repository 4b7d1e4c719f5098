"""Objects that are known to be unhealthy and accepted until a date. Pure.

This makes a cluster that is never fully healthy usable: an object that was unhealthy at the baseline, and is
listed with a reason and an expiry, is excused while it is no worse than it was. Anything worse counts, and so
does every object that is not listed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003  # msgspec reads it
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chaosext.model.findings import Status, worst
from chaosext.model.names import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.findings import Evidence, Finding

HERE = " → "
"""Separates a node from what is observed from it, in a finding's subject."""

NODES = "nodes_ready"
"""The check whose finding lists dead nodes."""

WELL = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUnhealthy:
    """Accept until `until` that `object` is unhealthy in the check named `check`, for a `reason`.

    `object` is a subject of the check's evidence: for a Pod, without its generated suffix
    (`Pod/shop/cart-*`); for an observation from a node, the node alone (`Node/worker-1`). `was`: how much of
    it was healthy when the entry was written, such as "1 of 3"; "" if not given: then the next baseline
    decides.
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
        """The smallest healthy share that is accepted; None if not given."""
        return share_of(self.was) if self.was else None

    def to_json(self) -> dict[str, str]:
        return {
            "check": self.check,
            "object": self.object,
            "reason": self.reason,
            "until": self.until.isoformat(),
            **({"was": self.was} if self.was else {}),
        }


def coarse(subject: str) -> str:
    """Return the object that an entry names for `subject`: the observing node, or the Pod without its suffix."""
    return subject.partition(HERE)[0] if subject.startswith("Node/") else lasting(subject)


def share_of(text: str) -> Fraction:
    """Parse `1 of 3` as a fraction. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) of (\d{1,9})", text)
    if not match or not Fraction(match[1]) <= Fraction(match[2]) != 0:
        raise ValueError(f"{text!r} is not a share such as '1 of 3'")
    return Fraction(match[1]) / Fraction(match[2])


@dataclass(frozen=True, slots=True)
class Measured:
    """The healthy part of what an entry covers, `good` of `total`, and whether any was unhealthy or unknown."""

    good: Fraction
    total: int
    unhealthy: bool
    unknown: bool

    @property
    def share(self) -> Fraction:
        return self.good / self.total

    def __str__(self) -> str:
        """Format as `2 of 3`, rounded down to hundredths so that parsing it never yields more than was measured."""
        return f"{math.floor(self.good * 100) / 100:g} of {self.total}"


def measure(entry: KnownUnhealthy, finding: Finding) -> Measured | None:
    """Measure what `entry` covers in `finding`; None for a finding of another check or without such evidence."""
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
    """The entries in force. `before`: the healthy share of each at the baseline; None: no baseline yet.

    `dead`: NotReady nodes that are known to be so; an unknown observation from such a node is excused too, if
    an entry names it. An entry missing from `before` was healthy or absent at the baseline, so it excuses
    nothing.
    """

    entries: tuple[KnownUnhealthy, ...] = ()
    before: Mapping[KnownUnhealthy, Fraction] | None = None
    dead: frozenset[str] = field(default_factory=frozenset)

    def excuse(self, finding: Finding, *, otherwise: Status = Status.UNKNOWN) -> Finding:
        """Return `finding` with known evidence excused if it is no worse.

        `otherwise`: the status if no other evidence is left.
        """
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
        """The smallest share that is excused: as at the baseline, and no less than the entry says."""
        written = entry.at_least or Fraction(0)
        return written if self.before is None else max(written, self.before.get(entry, WELL))

    def _is_excusable(self, row: Evidence) -> bool:
        """Whether an entry may excuse `row`. Unknown evidence is excused only from a node that is known to be dead."""
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
    """Summarize, with known evidence last. Drops the finding's own summary: it may describe only excused evidence."""
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
    """Create an entry for each unhealthy object in `findings`, and for unknown observations from dead nodes."""
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
    """How a known object changed from the baseline to the end."""

    SAME = "as before"
    BETTER = "better"
    WORSE = "worse"
    NO_MATCH = "matches nothing"
    """Nothing that the entry names was unhealthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownObject:
    """An entry in a run, with its healthy share at the baseline and at the end; "" if it was not observed."""

    entry: KnownUnhealthy
    at_baseline: str
    at_end: str
    became: Became

    @property
    def said(self) -> str:
        """As text: `probes_healthy: Pod/shop/cart-*, 1 of 3 well, as before; CHG-4711, until 2026-12-24 00:00 UTC`."""
        well = f"{self.at_end or self.at_baseline} well, " if self.at_end or self.at_baseline else ""
        until = f"until {self.entry.until:%Y-%m-%d %H:%M} UTC"
        return f"{self.entry}, {well}{self.became.value}; {self.entry.reason}, {until}"

    def to_json(self) -> dict[str, str]:
        said = {"at_baseline": self.at_baseline, "at_end": self.at_end, "became": self.became.value}
        return self.entry.to_json() | said

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            entry=msgspec.convert(value, KnownUnhealthy),
            at_baseline=str(value["at_baseline"]),
            at_end=str(value["at_end"]),
            became=Became(value["became"]),
        )


def became(entry: KnownUnhealthy, before: Measured | None, after: Measured | None) -> KnownObject:
    """Compare `entry` before and after. `before` is None if nothing that it covers was unhealthy at the baseline."""
    was = before.share if before else WELL
    now = after.share if after else was
    change = Became.SAME if now == was else Became.BETTER if now > was else Became.WORSE
    if before is None and change is Became.SAME:
        change = Became.NO_MATCH
    said = (str(each) if each else "" for each in (before, after))
    return KnownObject(entry=entry, at_baseline=next(said), at_end=next(said), became=change)


def expired(entries: Iterable[KnownUnhealthy], now: datetime) -> tuple[KnownUnhealthy, ...]:
    return tuple(entry for entry in entries if entry.until <= now)

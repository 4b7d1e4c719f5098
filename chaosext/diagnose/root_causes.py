"""Pick root causes: run all rules on a cluster's symptoms, and order what they found. Pure.

A cause that explains what another was inferred from lies deeper. What no cause explains stays unexplained, and what
was not seen is never healthy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.diagnose.knowledge import Cause, Patient, Unsettled, all_rules
from chaosext.diagnose.symptoms import SymptomKind, notes_of, symptoms_of
from chaosext.model.errors import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaosext.diagnose.cluster_sight import ClusterSight
    from chaosext.diagnose.knowledge import DiagnosisRule
    from chaosext.diagnose.symptoms import Symptom

SCHEMA = "chaosext.diagnosis/v1"

LATEST = datetime.max.replace(tzinfo=UTC)

AFFECTED = (SymptomKind.WORKLOAD, SymptomKind.NOT_CREATED, SymptomKind.SERVICE, SymptomKind.XDS)
"""Kinds of symptoms that show who is affected."""


class ClusterCondition(StrEnum):
    """The state of a cluster."""

    HEALTHY = "healthy"
    EXPLAINED = "broken, explained"
    UNEXPLAINED = "broken, not explained"
    UNKNOWN = "can't tell"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self]


EXIT_CODES = {
    ClusterCondition.HEALTHY: 0,
    ClusterCondition.EXPLAINED: 10,
    ClusterCondition.UNEXPLAINED: 11,
    ClusterCondition.UNKNOWN: 30,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCause:
    """A root cause, and what it led to: other causes, the symptoms that all of them explain, and who is affected."""

    cause: Cause
    led_to: tuple[Cause, ...] = ()
    explained: tuple[Symptom, ...] = ()

    @property
    def since(self) -> datetime | None:
        """When it began: the cause itself, or else the first of its symptoms."""
        first = min((each.since for each in self.explained if each.since), default=None)
        return self.cause.since or first

    @property
    def affected(self) -> tuple[str, ...]:
        """Workloads, Services and Pods that suffer from it."""
        owned = {pod for each in self.explained if each.kind is not SymptomKind.XDS for pod in each.pods}
        found = (each for each in self.explained if each.kind in AFFECTED)
        return tuple(
            each.subject for each in found if each.kind is not SymptomKind.XDS or each.subject not in owned
        )

    def to_json(self) -> dict[str, Any]:
        return {
            **self.cause.to_json(),
            "since": self.since.isoformat() if self.since else None,
            "led_to": [each.to_json() for each in self.led_to],
            "explained": [each.to_json() for each in self.explained],
            "affected": list(self.affected),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The answer. `unsettled`: what rules could not tell. `gaps`: what was not seen. `notes`: normal operation."""

    condition: ClusterCondition
    at: datetime
    context: str = ""
    roots: tuple[RootCause, ...] = ()
    symptoms: tuple[Symptom, ...] = ()
    unexplained: tuple[Symptom, ...] = ()
    unsettled: tuple[Unsettled, ...] = ()
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return self.condition.exit_code

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "exit_code": self.exit_code,
            "condition": self.condition.value,
            "at": self.at.isoformat(),
            "context": self.context,
            "root_causes": [each.to_json() for each in self.roots],
            "symptoms": [each.to_json() for each in self.symptoms],
            "unexplained": [each.to_json() for each in self.unexplained],
            "unsettled": [{"what": each.what, "why": each.why} for each in self.unsettled],
            "not_seen": list(self.gaps),
            "notes": list(self.notes),
        }


def diagnose(sight: ClusterSight, rules: Sequence[DiagnosisRule] | None = None) -> Diagnosis:
    """Return the diagnosis of what is seen of a cluster."""
    symptoms, unread = symptoms_of(sight)
    patient = Patient(sight=sight, symptoms=symptoms)
    causes: list[Cause] = []
    unsettled: list[Unsettled] = []
    for rule in all_rules() if rules is None else rules:
        try:
            found = [*rule.find(patient)]
        except MALFORMED as error:  # the other rules still count
            unread = (*unread, f"rule {rule.name}: invalid value ({type(error).__name__}: {error})")
            continue
        causes += [replace(each, rule=rule.name) for each in found if isinstance(each, Cause)]
        unsettled += [each for each in found if isinstance(each, Unsettled)]
    roots = root_causes(causes, symptoms)
    settled = {each.key for root in roots for each in root.explained}
    left = tuple(each for each in symptoms if each.key not in settled)
    gaps = (*sight.gaps, *unread)
    return Diagnosis(
        condition=_condition(roots, left, gaps),
        at=sight.now,
        context=sight.context,
        roots=roots,
        symptoms=symptoms,
        unexplained=left,
        unsettled=tuple(unsettled) if left or not roots else (),
        gaps=gaps,
        notes=notes_of(sight),
    )


def _condition(roots: Sequence[RootCause], left: Sequence[Symptom], gaps: Sequence[str]) -> ClusterCondition:
    if left:
        return ClusterCondition.UNEXPLAINED
    if roots:
        return ClusterCondition.EXPLAINED
    return ClusterCondition.UNKNOWN if gaps else ClusterCondition.HEALTHY


def root_causes(causes: Sequence[Cause], symptoms: Sequence[Symptom]) -> tuple[RootCause, ...]:
    """Return the causes that no other explains, those that explain most first, each with what it led to."""
    deeper = {id(each): _deeper(each, causes) for each in causes}
    roots = [each for each in causes if not each.is_link and not deeper[id(each)]]
    made = [_root(each, causes, deeper, symptoms) for each in roots]
    return tuple(sorted(made, key=lambda root: (-len(root.explained), root.cause.subject)))


def _deeper(cause: Cause, causes: Iterable[Cause]) -> list[Cause]:
    """Return the causes that lie deeper than this one. Two that explain each other stay side by side."""
    return [each for each in causes if _outranks(each, cause) and not _outranks(cause, each)]


def _outranks(one: Cause, other: Cause) -> bool:
    if one is other or one.is_link:
        return False
    explains_it = bool(other.grounds) and other.grounds <= one.accounts_for
    return explains_it or bool(other.because & one.accounts_for)


def _root(
    root: Cause, causes: Sequence[Cause], deeper: dict[int, list[Cause]], symptoms: Sequence[Symptom]
) -> RootCause:
    """Return a root cause with everything that it led to, by way of other causes, too."""
    led_to: list[Cause] = []
    reached = [root]
    while reached:
        behind = reached.pop()
        for each in causes:
            if each is not root and each not in led_to and behind in deeper[id(each)]:
                led_to.append(each)
                reached.append(each)
    settled = root.accounts_for.union(*(each.accounts_for for each in led_to))
    return RootCause(
        cause=root,
        led_to=tuple(sorted(led_to, key=lambda each: (each.since or LATEST, each.rule))),
        explained=tuple(each for each in symptoms if each.key in settled),
    )

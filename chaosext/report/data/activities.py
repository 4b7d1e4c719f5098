"""The activities of a run, from Chaos Toolkit's journal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.experiment.journal_redaction import FAILED, RAISED
from chaosext.model.errors import MALFORMED, finite
from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Iterator


class Phase(StrEnum):
    """The parts of an experiment, in the order in which they run."""

    GATE = "gate"
    METHOD = "method"
    AFTER = "after"
    ROLLBACKS = "rollbacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One activity of an experiment. `said` is its finding, result or error, in one line.

    `status`: HEALTHY if its finding is healthy, or within the tolerance of a hypothesis; UNHEALTHY if not;
    UNKNOWN if it found out nothing; NOT_APPLICABLE if the cluster has nothing of the kind. `ended`: it did its
    work; else it raised, or was aborted. `began_at` is wall clock (ISO 8601), "" if unknown.
    """

    phase: Phase
    name: str
    status: Status
    said: str
    duration_s: float
    ended: bool = True
    began_at: str = ""


def activities(journal: Mapping[str, Any]) -> tuple[Activity, ...]:
    """Every activity in `journal` (of any shape)."""
    return tuple(_activities(journal))


def _activities(journal: Mapping[str, Any]) -> Iterator[Activity]:
    states = _mapping(journal.get("steady_states"))
    played = {
        Phase.GATE: _mapping(states.get("before")).get("probes"),
        Phase.METHOD: journal.get("run"),
        Phase.AFTER: _mapping(states.get("after")).get("probes"),
        Phase.ROLLBACKS: journal.get("rollbacks"),
    }
    for phase, runs in played.items():
        for run in runs if isinstance(runs, list) else ():
            yield _activity(phase, _mapping(run))


def _activity(phase: Phase, run: Mapping[str, Any]) -> Activity:
    finding = _finding(run)
    return Activity(
        phase=phase,
        name=str(_mapping(run.get("activity")).get("name", "unnamed activity")),
        status=_status(run, finding),
        said=_said(run, finding),
        duration_s=_seconds(run.get("duration")),
        ended=run.get("status") == "succeeded",
        began_at=str(run.get("start") or ""),
    )


def _seconds(value: Any) -> float:
    """Duration in seconds; 0 for an aborted activity."""
    try:
        return finite(value)
    except MALFORMED:
        return 0.0


def _status(run: Mapping[str, Any], finding: Mapping[str, Any]) -> Status:
    if run.get("status") != "succeeded":
        return Status.UNKNOWN
    is_met = run.get("tolerance_met")
    if finding and finding["status"] == Status.NOT_APPLICABLE:
        return Status.UNKNOWN if is_met is False else Status.NOT_APPLICABLE
    if is_met is True:
        return Status.HEALTHY
    if finding and finding["status"] != Status.HEALTHY:
        return Status(finding["status"])
    return Status.UNHEALTHY if is_met is False else Status.HEALTHY


def _said(run: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    raised, text = run.get(RAISED), run.get("exception")
    if isinstance(raised, Mapping) and raised.get("message"):
        return str(raised["message"])
    if isinstance(text, list) and text:
        return str(text[-1]).strip().removeprefix(FAILED)
    if finding:
        return str(finding.get("summary", ""))
    return f"returned {run['output']!r}" if isinstance(run.get("output"), str | bool | int | float) else ""


def _finding(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """The finding that an activity returned, or carries under `finding`; empty if there is none."""
    output = _mapping(run.get("output"))
    finding = _mapping(output.get("finding", output))
    return finding if finding.get("status") in tuple(Status) else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

"""A run's directory, read: the one value that every report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark, Signal

if TYPE_CHECKING:
    from chaosext.model.result import RunResult
    from chaosext.model.timeline import Predicted
    from chaosext.report.activities import Activity


@dataclass(frozen=True, slots=True)
class Stretch:
    """A signal was `mark` from `start_s` to `end_s`, in seconds from the cut. Mark.UNKNOWN: nobody looked."""

    start_s: float
    end_s: float
    mark: Mark


Stretches = Mapping[str, Mapping[Signal, tuple[Stretch, ...]]]
"""Node -> signal -> how it was, in the order of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """One run, as its directory tells it.

    `result.verdict` is NOT_KNOWN where the run was killed before it judged. `stretches`: what each node's sentinel
    saw; empty where there was none. `prediction`: the rehearsal's timeline, in its order. `activities`: what was asked
    and done. `missing`: what is not there, or could not be read, each a line for people.
    """

    result: RunResult
    stretches: Stretches = field(default_factory=dict)
    prediction: tuple[Predicted, ...] = ()
    activities: tuple[Activity, ...] = ()
    missing: tuple[str, ...] = ()

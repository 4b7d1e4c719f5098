"""Reads a run's directory into the one value that every report is made from."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from chaosext.cluster.object_files import file_hint
from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.errors import MALFORMED, Refused
from chaosext.model.files import Folder
from chaosext.model.load_balancer_state import SECONDS_FILE, Second
from chaosext.model.names import UNKNOWN, RunId
from chaosext.model.result import RunResult
from chaosext.model.timeline import Event, Predicted
from chaosext.model.verdict import Outcome, Verdict
from chaosext.report.data.activities import Activity, activities
from chaosext.report.data.sentinel_spans import Stretches, read_stretches
from chaosext.timeline.outages import outages, timing, unobserved

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RESULT, JOURNAL, TIMELINE, REHEARSAL = "result.json", "journal.json", "timeline.jsonl", "rehearsal.json"
REHEARSAL_SCHEMA = "chaosext.rehearsal/v1"
SENTINEL_SETTING = "chaosext_sentinel"

DASHBOARD = "CHAOSEXT_GRAFANA_URL"
"""Environment variable with the URL of a dashboard; reports link to the time of the run there."""

LINES_BYTES = 64 << 20
LONGEST_LINE = 64 << 10
MOST_LINES = 50_000
"""Maximum lines of a timeline: an hour on 100 nodes gives 10,000 events, each of which takes a report 0.3 ms."""

LOST_QUORUM = "a lost quorum"

Line = TypeVar("Line", Event, Second)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """One run, as read from its directory.

    - `result`: its verdict is NOT_KNOWN if the run was killed before its verdict.
    - `sentinels`: False if they were disabled.
    - `stretches`: observations of each node's sentinel; empty if there was none.
    - `seconds`: results of customers' requests at the load balancer; empty if there is none.
    - `prediction`: the rehearsal's timeline, in order.
    - `forecast`: the rehearsal's verdict about what a run observes, "" if there was none.
    - `unobserved`: what the rehearsal predicts besides and no check sees, "" for nothing.
    - `activities`: the run's activities.
    - `dashboard`: the URL of the dashboards of that cluster, "" for none.
    - `missing`: files that are missing or unreadable, as user-visible lines.
    """

    result: RunResult
    sentinels: bool = True
    stretches: Stretches = field(default_factory=dict)
    seconds: tuple[Second, ...] = ()
    prediction: tuple[Predicted, ...] = ()
    forecast: str = ""
    unobserved: str = ""
    activities: tuple[Activity, ...] = ()
    dashboard: str = ""
    missing: tuple[str, ...] = ()


def read_run(path: Path) -> RunData:
    """Read the run in the directory `path`; unreadable parts are listed in `missing`.

    Follows no link out of the directory, never blocks, and reads within bounds. Raises `Refused` if it is not
    a run's directory.
    """
    try:
        with Folder(path) as folder:
            if any(folder.has(name) for name in (RESULT, JOURNAL, TIMELINE)):
                return _read(folder)
        here = "not a run's directory"
    except OSError as error:
        here = "no such directory" if not path.exists() else f"can't be opened ({error.strerror})"
    raise Refused(f"{path}: {here}", file_hint(path, "give a run's directory, its id, or `latest`"))


def _read(folder: Folder) -> RunData:
    directory = _Directory(folder)
    journal, events = directory.json(JOURNAL), directory.events()
    result = directory.result(journal, events)
    stretches, unseen = read_stretches(folder, result.run)
    watched = _has_sentinels(journal)
    prediction, forecast, unobserved = directory.rehearsal()
    expected = watched and result.verdict.outcome is not Outcome.REFUSED
    return RunData(
        result=result,
        sentinels=watched,
        stretches=stretches,
        seconds=directory.seconds(),
        prediction=prediction,
        forecast=forecast,
        unobserved=unobserved,
        activities=activities(journal),
        dashboard=os.environ.get(DASHBOARD, ""),
        missing=(*directory.missing, *(unseen if expected else ())),
    )


def _has_sentinels(journal: Mapping[str, Any]) -> bool:
    """Whether sentinels were enabled, which is the default."""
    with suppress(*MALFORMED):
        return journal["experiment"]["configuration"][SENTINEL_SETTING] is not False
    return True


class _Directory:
    """Reads a run's files; a missing or malformed file becomes a line of `missing`."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._name = folder, folder.path.name
        self.missing: list[str] = []

    def json(self, name: str, *, needed: bool = True) -> Mapping[str, Any]:
        """The JSON object in a file; empty if there is none."""
        try:
            value = parse_json(self._folder.read(name, most=JSON_BYTES))
        except FileNotFoundError:
            self.missing += [f"{self._name} has no {name}"] if needed else []
            return {}
        except (OSError, *MALFORMED) as error:
            self._unreadable(name, error)
            return {}
        if isinstance(value, dict):
            return value
        self._unreadable(name, TypeError("not a JSON object"))
        return {}

    def result(self, journal: Mapping[str, Any], events: tuple[Event, ...]) -> RunResult:
        value = self.json(RESULT)
        if value:
            try:
                return _whole(RunResult.from_json(value, events), value)
            except MALFORMED as error:
                self._unreadable(RESULT, error)
        return _without_end(self._name, journal, events)

    def events(self) -> tuple[Event, ...]:
        """The timeline in order of time: a killed run left it in order of writing."""
        return tuple(sorted(self._lines(TIMELINE, Event), key=lambda event: event.t_s))

    def seconds(self) -> tuple[Second, ...]:
        """The results of customers' requests, in order of time; () if no load balancer was watched."""
        found = self._lines(SECONDS_FILE, Second, needed=False)
        return tuple(sorted(found, key=lambda second: second.t_s))

    def _lines(self, name: str, shape: type[Line], *, needed: bool = True) -> list[Line]:
        """A value of type `shape` for each valid line of a file, up to `MOST_LINES`."""
        found: list[Line] = []
        torn = 0
        try:
            for line in self._folder.lines(name, longest=LONGEST_LINE, most=LINES_BYTES):
                if len(found) + torn >= MOST_LINES:
                    raise OSError(0, f"has more than {MOST_LINES:,} lines; the rest was not read")
                try:
                    found.append(msgspec.convert(parse_json(line), shape))
                except MALFORMED:
                    torn += 1
        except FileNotFoundError as error:
            self.missing += [f"{self._name} has no {name} ({error.strerror})"] if needed else []
        except OSError as error:
            self.missing.append(f"{name} {error.strerror}")
        if torn and needed:
            self.missing.append(f"{name}: {torn} of its lines can't be read")
        return found

    def rehearsal(self) -> tuple[tuple[Predicted, ...], str, str]:
        """Return the rehearsal's timeline, its verdict about what a run observes, and what no check sees."""
        value = self.json(REHEARSAL, needed=False)
        if not value:
            return (), "", ""
        try:
            if value["schema"] != REHEARSAL_SCHEMA:
                raise ValueError(f"schema {value['schema']!r}, not {REHEARSAL_SCHEMA}")
            return tuple(map(Predicted.from_json, value["timeline"])), *forecast_of(value)
        except MALFORMED as error:
            self._unreadable(REHEARSAL, error)
            return (), "", ""

    def _unreadable(self, name: str, error: Exception) -> None:
        said = error.strerror if isinstance(error, OSError) else None
        why = said or f"{type(error).__name__}: {' '.join(str(error).split()):.120}"
        self.missing.append(f"{name} can't be read ({why})")


def forecast_of(value: Mapping[str, Any]) -> tuple[str, str]:
    """Return a rehearsal's verdict about what a run observes, and what it predicts besides.

    A rehearsal deviates, too, if a quorum is lost, even if everything heals. No check of a run sees that.
    """
    verdict = str(value.get("verdict", ""))
    if verdict == "deviated" and value.get("self_heals", False) is not False:
        return "passed" if value["self_heals"] else "unknown", LOST_QUORUM
    return verdict, ""


def _whole(result: RunResult, value: Mapping[str, Any]) -> RunResult:
    """Derive outages from the timeline if the result is older than sentinels, as it has lost DNS only."""
    if "outages_s" in value:
        return result
    return replace(result, outages=outages(result.events), timing=timing(result.events))


def _without_end(name: str, journal: Mapping[str, Any], events: tuple[Event, ...]) -> RunResult:
    """Build the result of a run without one: what its timeline shows, and no verdict."""
    experiment = journal.get("experiment")
    try:
        run = RunId(name)
    except ValueError:
        run = UNKNOWN
    reason = f"the run left no readable {RESULT}: it was killed before its verdict, or is still in progress"
    return RunResult(
        run=run,
        experiment=str(experiment.get("title", "")) if isinstance(experiment, dict) else "",
        started_at=str(journal.get("start", "")),
        duration_s=max(0.0, events[-1].t_s - events[0].t_s) if events else 0.0,
        verdict=Verdict(outcome=Outcome.NOT_KNOWN, reasons=(reason,)),
        events=events,
        outages=outages(events),
        unobserved=unobserved(events),
        timing=timing(events),
    )

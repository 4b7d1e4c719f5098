"""A run's directory, read: the one value that every report is made from."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chaosext.model.entry import SECONDS_FILE, Second
from chaosext.model.errors import Refused
from chaosext.model.malformed import MALFORMED
from chaosext.model.result import RunResult
from chaosext.model.timeline import Event, Predicted
from chaosext.model.verdict import Outcome, Verdict
from chaosext.observe.outages import outages, timing, unobserved
from chaosext.report.activities import Activity, activities
from chaosext.report.stretches import Stretches, read_stretches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RESULT, JOURNAL, TIMELINE, REHEARSAL = "result.json", "journal.json", "timeline.jsonl", "rehearsal.json"
REHEARSAL_SCHEMA = "chaosext.rehearsal/v1"
SENTINEL_SETTING = "chaosext_sentinel"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """One run, as its directory tells it.

    `result.verdict` is NOT_KNOWN where the run was killed before it judged. `stretches`: what each node's sentinel
    saw; empty where there was none, as it is meant to be where `sentinels` is False. `seconds`: what became of the
    requests of an entry's customers; empty where there is no entry. `prediction`: the rehearsal's
    timeline, in its order; `forecast`: its verdict, "" where there was none. `activities`: what was asked and done.
    `missing`: what is not there, or could not be read, each a line for people.
    """

    result: RunResult
    sentinels: bool = True
    stretches: Stretches = field(default_factory=dict)
    seconds: tuple[Second, ...] = ()
    prediction: tuple[Predicted, ...] = ()
    forecast: str = ""
    activities: tuple[Activity, ...] = ()
    missing: tuple[str, ...] = ()


def read_run(path: Path) -> RunData:
    """The run in the directory `path`. Raises `Refused` where there is none; what can't be read of one is `missing`."""
    directory = _Directory(path)
    if not any((path / name).is_file() for name in (RESULT, JOURNAL, TIMELINE)):
        here = "no run is there" if path.is_dir() else "there is no such directory"
        raise Refused(f"{path}: {here}", "name a run's directory, its id, or `latest`")
    journal, events = directory.json(JOURNAL), directory.events()
    result = directory.result(journal, events)
    stretches, unseen = read_stretches(path, result.run)
    watched = _has_sentinels(journal)
    prediction, forecast = directory.rehearsal()
    expected = watched and result.verdict.outcome is not Outcome.REFUSED
    return RunData(
        result=result,
        sentinels=watched,
        stretches=stretches,
        seconds=directory.seconds(),
        prediction=prediction,
        forecast=forecast,
        activities=activities(journal),
        missing=(*directory.missing, *(unseen if expected else ())),
    )


def _has_sentinels(journal: Mapping[str, Any]) -> bool:
    """Whether sentinels were to watch, which is so unless the experiment's configuration says otherwise."""
    with suppress(*MALFORMED):
        return journal["experiment"]["configuration"][SENTINEL_SETTING] is not False
    return True


class _Directory:
    """Reads a run's files; what is not there, or can't be understood, becomes a line of `missing`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.missing: list[str] = []

    def json(self, name: str, *, needed: bool = True) -> Mapping[str, Any]:
        """The JSON object in a file; empty where there is none."""
        try:
            value = json.loads((self._path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.missing += [f"{self._path.name} has no {name}"] if needed else []
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
        return _without_end(self._path.name, journal, events)

    def events(self) -> tuple[Event, ...]:
        """The timeline in the order of time: a run that was killed left it in the order of writing."""
        events: list[Event] = []
        torn = 0
        try:
            with (self._path / TIMELINE).open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    try:
                        events.append(Event.from_json(json.loads(line)))
                    except MALFORMED:
                        torn += 1
        except OSError as error:
            self.missing.append(f"{self._path.name} has no {TIMELINE} ({error.strerror})")
        self.missing += [f"{TIMELINE}: {torn} of its lines can't be read"] if torn else []
        return tuple(sorted(events, key=lambda event: event.t_s))

    def seconds(self) -> tuple[Second, ...]:
        """What became of customers' requests, in the order of time; () where nobody watched an entry."""
        found: list[Second] = []
        with suppress(OSError), (self._path / SECONDS_FILE).open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(*MALFORMED):  # torn by a kill, at most the last one
                    found.append(Second.from_json(json.loads(line)))
        return tuple(sorted(found, key=lambda second: second.t_s))

    def rehearsal(self) -> tuple[tuple[Predicted, ...], str]:
        """Its timeline and its verdict."""
        value = self.json(REHEARSAL, needed=False)
        if not value:
            return (), ""
        try:
            if value["schema"] != REHEARSAL_SCHEMA:
                raise ValueError(f"schema {value['schema']!r}, not {REHEARSAL_SCHEMA}")
            return tuple(map(Predicted.from_json, value["timeline"])), str(value.get("verdict", ""))
        except MALFORMED as error:
            self._unreadable(REHEARSAL, error)
            return (), ""

    def _unreadable(self, name: str, error: Exception) -> None:
        self.missing.append(
            f"{name} can't be read ({type(error).__name__}: {' '.join(str(error).split()):.120})"
        )


def _whole(result: RunResult, value: Mapping[str, Any]) -> RunResult:
    """Results of before there were sentinels tell of dead DNS only; their timeline tells more."""
    if "outages_s" in value:
        return result
    return replace(result, outages=outages(result.events), timing=timing(result.events))


def _without_end(run: str, journal: Mapping[str, Any], events: tuple[Event, ...]) -> RunResult:
    """What can be said of a run that left no result: what its timeline shows, and no verdict."""
    experiment = journal.get("experiment")
    reason = f"the run left no readable {RESULT}: it was killed before it could judge, or is still going on"
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

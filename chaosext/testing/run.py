"""One run, as a test asks about it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chaosext.model.errors import ChaosextError
from chaosext.model.result import Lane, RunResult, length_s
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.result import Window
    from chaosext.model.timeline import Event
    from chaosext.testing.command import Command, Done

ANSWERS = (Outcome.PASSED, Outcome.DEVIATED)
"""What a run ends with that found an answer; any other must have been expected."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Run:
    """What came of a run. `result` holds all that result.json does, and the timeline.

    `exit_code` is the command's. `directory` has the journal, the timeline and the report; None: it was refused before
    it had one.
    """

    result: RunResult
    exit_code: int
    directory: Path | None

    @property
    def verdict(self) -> Verdict:
        return self.result.verdict

    @property
    def outcome(self) -> Outcome:
        """The verdict in a word, which equals its text: `run.outcome == "passed"`."""
        return self.verdict.outcome

    def events(self, kind: Kind | str, about: str = "") -> tuple[Event, ...]:
        """What happened of `kind`, such as `dns_dead`, to objects with `about` in their name, in the order of time.

        Raises ValueError for what is no kind of event: one that can't happen would never be missed.
        """
        wanted = Kind(kind)
        return tuple(each for each in self.result.events if each.kind is wanted and about in each.object)

    def first(self, kind: Kind | str, about: str = "") -> Event | None:
        """The first of `events`; its `t_s` is in seconds from the cut."""
        return next(iter(self.events(kind, about)), None)

    def outages(self, lane: Lane | str) -> Mapping[str, tuple[Window, ...]]:
        """What was out in `lane`, such as `dns`: object -> from when until when, in seconds from the cut."""
        return self.result.outages.get(Lane(lane), {})

    def longest_outage_s(self, lane: Lane | str) -> float:
        """The longest of `outages`, in seconds; one that never ended is counted up to the last event."""
        end_s = self.result.end_s
        windows = (window for found in self.outages(lane).values() for window in found)
        return max((length_s(window, end_s) for window in windows), default=0.0)

    @property
    def summary(self) -> str:
        """The run in Markdown, down to its chain of causes; its reasons where no report was written."""
        if self.directory is not None:
            with suppress(OSError):
                text = (self.directory / "summary.md").read_text(encoding="utf-8")
                return f"{text.partition('## Outages')[0].rstrip()}\n\n{self.directory / 'report.html'}"
        return "\n".join([f"{self.verdict.headline} (exit {self.verdict.exit_code})", *self.verdict.reasons])

    def __repr__(self) -> str:
        if self.directory is None:
            return f"<no run, {'; '.join([self.verdict.headline, *self.verdict.reasons])}>"
        return f"<run {self.result.run}: {self.verdict.headline}>"


def run(
    experiment: str | Path | Mapping[str, Any],
    chaosext: Command,
    *,
    context: str,
    expect: str | None,
    root: Path,
    scratch: Path,
    environment: Mapping[str, str],
) -> Run:
    """`chaosext run`, as in a terminal; its directory is made in `root`.

    Raises `ChaosextError` where it ended without a result. What a killed one left is swept away.
    """
    words = [
        "run",
        _named(experiment, scratch),
        "--context",
        context,
        "--run-dir",
        str(root),
        "--plain",
        "--json",
    ]
    done = chaosext(*words, *(["--expect", expect] if expect else []), environment=environment)
    if done.was_killed:
        chaosext("sweep")
    return _read(done, root)


def _named(experiment: str | Path | Mapping[str, Any], scratch: Path) -> str:
    """How the command names it: a path, one that comes along, or a value that is written down for it."""
    if isinstance(experiment, str | Path):
        return str(experiment)
    path = scratch / "experiment.yaml"
    path.write_text(yaml.safe_dump(dict(experiment), sort_keys=False), encoding="utf-8")
    return str(path)


def _read(done: Done, root: Path) -> Run:
    from chaosext.report.run_data import read_run

    try:
        printed = json.loads(done.stdout)
    except ValueError:
        raise ChaosextError(f"chaosext run ended with exit code {done.exit_code}, and no result") from None
    if "run" in printed:
        directory = root / printed["run"]
        return Run(result=read_run(directory).result, exit_code=done.exit_code, directory=directory)
    return Run(result=_refused_at_once(printed), exit_code=done.exit_code, directory=None)


def _refused_at_once(printed: Mapping[str, Any]) -> RunResult:
    verdict = Verdict.from_json(printed)
    return RunResult(run="", experiment="", started_at="", duration_s=0.0, verdict=verdict, events=())

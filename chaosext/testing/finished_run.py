"""A finished run, for the assertions of a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chaosext.cluster.object_files import parse_yaml
from chaosext.experiment.load import bundled
from chaosext.model.errors import ChaosextError
from chaosext.model.files import read_file, write_whole
from chaosext.model.names import RunId
from chaosext.model.printable import one_line
from chaosext.model.result import Lane, RunResult, length_s
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from chaosext.model.result import Window
    from chaosext.model.timeline import Event
    from chaosext.testing.command import Command, Done

CONTEXT_KEY = "KUBERNETES_CONTEXT"

ANSWERS = (Outcome.PASSED, Outcome.DEVIATED)
"""Outcomes that answer the test's question; any other must have been expected."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Run:
    """A finished run. `result` holds everything in result.json, and the timeline.

    `exit_code` is the command's. `directory` has the journal, the timeline and the report; None if the run was refused
    before it had one.
    """

    result: RunResult
    exit_code: int
    directory: Path | None

    @property
    def verdict(self) -> Verdict:
        return self.result.verdict

    @property
    def outcome(self) -> Outcome:
        """The verdict in a word, comparable with its text: `run.outcome == "passed"`."""
        return self.verdict.outcome

    def events(self, kind: Kind | str, about: str = "") -> tuple[Event, ...]:
        """Events of `kind`, such as `dns_dead`, of objects with `about` in their name, in order of time.

        Raises:
            ValueError: `kind` is not a kind of event; such a test could never fail.
        """
        wanted = Kind(kind)
        return tuple(each for each in self.result.events if each.kind is wanted and about in each.object)

    def first(self, kind: Kind | str, about: str = "") -> Event | None:
        """The first of `events`; its `t_s` is in seconds from the cut."""
        return next(iter(self.events(kind, about)), None)

    def outages(self, lane: Lane | str) -> Mapping[str, tuple[Window, ...]]:
        """Outages in `lane`, such as `dns`: object -> start and end, in seconds from the cut."""
        return self.result.outages.get(Lane(lane), {})

    def longest_outage_s(self, lane: Lane | str) -> float:
        """The longest of `outages`, in seconds; an outage that never ended counts up to the last event."""
        end_s = self.result.end_s
        windows = (window for found in self.outages(lane).values() for window in found)
        return max((length_s(window, end_s) for window in windows), default=0.0)

    @property
    def summary(self) -> str:
        """The run in Markdown, down to its root cause; only its reasons if no report was written."""
        if self.directory is not None:
            with suppress(OSError):
                text = read_file(self.directory / "summary.md").decode()
                return f"{text.partition('## Outages')[0].rstrip()}\n\n{self.directory / 'report.html'}"
        return "\n".join([self.result.ending, *map(one_line, self.verdict.reasons)])

    def __repr__(self) -> str:
        if self.directory is None:
            return one_line(f"<no run, {'; '.join([self.verdict.headline, *self.verdict.reasons])}>")
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
    """Run `chaosext run` as in a terminal; its directory is created in `root`.

    Raises `ChaosextError` if it ended without a result. If it was killed, `chaosext cleanup` removes what it
    left.
    """
    words = [
        "run",
        _named(experiment, context, scratch),
        "--context",
        context,
        "--run-dir",
        str(root),
        "--plain",
        "--json",
    ]
    done = chaosext(*words, *(["--expect", expect] if expect else []), environment=environment)
    if done.was_killed:
        chaosext("cleanup")
    return _read(done, root)


def _named(experiment: str | Path | Mapping[str, Any], context: str, scratch: Path) -> str:
    """Return the command's argument: as the test gave it, or a copy with its contexts set to `context`."""
    value = experiment if isinstance(experiment, Mapping) else _value(Path(experiment))
    here = _on(context, value)
    if isinstance(experiment, Mapping) or here != value:
        path = scratch / "experiment.yaml"
        write_whole(path, yaml.safe_dump(here, sort_keys=False), fsync=False)
        return str(path)
    return str(experiment)


def _value(path: Path) -> Any:
    """Return the experiment in that file; None if it can't be read, which the command will report in detail."""
    with suppress(OSError, ValueError):
        found = path if path.exists() else bundled(path.name) or path
        return parse_yaml(read_file(found))
    return None


def _on(context: str, value: Any) -> Any:
    """Return the experiment `value` with its secrets' contexts set to `context`."""
    secrets = value.get("secrets") if isinstance(value, Mapping) else None
    if not isinstance(secrets, Mapping):
        return value
    moved = {
        name: {**each, CONTEXT_KEY: context} if isinstance(each, Mapping) and CONTEXT_KEY in each else each
        for name, each in secrets.items()
    }
    return {**value, "secrets": moved}


def _read(done: Done, root: Path) -> Run:
    from chaosext.report.data.run_data import read_run

    try:
        printed = json.loads(done.stdout)
    except ValueError:
        raise ChaosextError(f"chaosext run ended with exit code {done.exit_code}, and no result") from None
    if "run" in printed:
        directory = root / RunId(printed["run"])
        return Run(result=read_run(directory).result, exit_code=done.exit_code, directory=directory)
    return Run(result=_refused_at_once(printed), exit_code=done.exit_code, directory=None)


def _refused_at_once(printed: Mapping[str, Any]) -> RunResult:
    verdict = Verdict.from_json(printed)
    return RunResult(run="", experiment="", started_at="", duration_s=0.0, verdict=verdict, events=())

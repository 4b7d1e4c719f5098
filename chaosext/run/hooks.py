"""Event handlers of chaoslib's runner: leave in time, and write the journal as it goes."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from chaoslib.run import RunEventHandler, Runner
from chaoslib.types import Strategy

from chaosext.experiment.journal_redaction import RAISED, redacted
from chaosext.experiment.load import activities
from chaosext.experiment.timeouts import activity_limit_s, activity_pause_s, longest_s
from chaosext.run.fault.heal import left_behind
from chaosext.run.providers import take_error
from chaosext.run.shutdown import FINISHED_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.experiment.resolve import Resolved
    from chaosext.run.session.run_context import RunContext
    from chaosext.run.session.run_directory import RunDirectory
    from chaosext.run.shutdown import Leaving

RUNNING = "running"
"""The status of a journal whose run is in progress, or was killed."""


class Once(Runner):  # type: ignore[misc]
    """chaoslib's runner with the values that were looked up, planned and approved: it does not look them up again."""

    def __init__(self, resolved: Resolved) -> None:
        super().__init__(Strategy.AFTER_METHOD)
        self._resolved = resolved

    def configure(self, experiment: Any, settings: Any, experiment_vars: Any) -> None:
        self.settings = settings
        self.config = deepcopy(dict(self._resolved.configuration))
        self.secrets = deepcopy(dict(self._resolved.secrets))


class InTime(RunEventHandler):  # type: ignore[misc]
    """Leaves before the next activity if the run is asked to stop, and sets a deadline for each.

    After an activity chaoslib makes its pause even when it exits: leaving here comes before it.
    """

    def __init__(self, left: Leaving, resolved: Resolved) -> None:
        self._left, self._resolved = left, resolved
        pauses_s = (activity_pause_s(resolved, activity) for _, activity in activities(resolved.experiment))
        self._gap_s = resolved.settings.activity_timeout_s + max(pauses_s, default=0.0)

    def started(self, experiment: Any, journal: Any) -> None:
        """Restore our signal handlers: chaoslib installs its own when its runner starts."""
        self._left.install()

    def start_method(self, experiment: Any) -> None:
        self._left.in_method = True

    def start_rollbacks(self, experiment: Any) -> None:
        self._left.restore()

    def start_activity(self, activity: Any) -> None:
        self._left.leave()
        self._left.begin(
            f"{activity['type']} '{activity['name']}'", activity_limit_s(self._resolved, activity)
        )

    def activity_completed(self, activity: Any, run: Any) -> None:
        self._left.done(f"the gap after {activity['type']} '{activity['name']}'", self._gap_s)
        self._left.leave()

    @contextmanager
    def during(self, what: str, within_s: float) -> Iterator[None]:
        """A deadline for something other than an activity."""
        self._left.begin(what, within_s)
        yield
        self._left.done(f"the gap after {what}", self._gap_s)


def whole_s(resolved: Resolved) -> float:
    """Longest duration of a run from taking its lock, seconds: the hypothesis runs before the method, too."""
    gate = [activity for place, activity in activities(resolved.experiment) if place.startswith("steady")]
    asked_s = sum(activity_limit_s(resolved, each) + activity_pause_s(resolved, each) for each in gate)
    return asked_s + longest_s(resolved) + FINISHED_S


class HealsFirst(RunEventHandler):  # type: ignore[misc]
    """Heals once more before the rollbacks of a stopped run: it may have been arming a cut just then."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    def start_rollbacks(self, experiment: Any) -> None:
        if self._run.stopped:
            left_behind(self._run)


class Announcer(RunEventHandler):  # type: ignore[misc]
    """Keeps the current activity in the run's context, for observers."""

    def __init__(self, run: RunContext) -> None:
        self._run, self._phase = run, "gate"

    def start_method(self, experiment: Any) -> None:
        self._phase = "method"

    def start_hypothesis_after(self, experiment: Any) -> None:
        self._phase = "steady state"

    def start_rollbacks(self, experiment: Any) -> None:
        self._phase = "rollbacks"

    def start_activity(self, activity: Any) -> None:
        self._run.doing = f"{self._phase}: {activity['name']}", time.monotonic()


class Scribe(RunEventHandler):  # type: ignore[misc]
    """Writes `journal.json` before and after each activity, redacted, so that a killed run leaves a record.

    chaoslib keeps the error of an activity as the text of a traceback; one of chaosext is recorded as a value, too.

    A full disk is not a reason to stop: the run's end reports what could not be written.
    """

    def __init__(self, directory: RunDirectory, journal: Mapping[str, Any], asked: str = "before") -> None:
        self._directory, self._journal = directory, journal
        self._asked, self._probes = asked, list[Any]()
        self._writing = threading.Lock()

    def running(self, experiment: Any, journal: Any, *_: Any) -> None:
        self._journal = journal
        self.write()

    def start_hypothesis_before(self, experiment: Any) -> None:
        self._asked, self._probes = "before", []

    def start_hypothesis_after(self, experiment: Any) -> None:
        self._asked, self._probes = "after", []

    def start_activity(self, activity: Any) -> None:
        take_error()
        self.write()

    def activity_completed(self, activity: Any, run: Any) -> None:
        if error := take_error():
            run[RAISED] = {"error": type(error).__name__, "message": str(error)}
        played = (*(self._journal.get("run") or ()), *(self._journal.get("rollbacks") or ()))
        if not any(run is each for each in played):
            self._probes.append(run)
        self.write()

    def write(self) -> None:
        """The current journal; chaoslib adds a hypothesis only when all of it was checked."""
        with self._writing, suppress(Exception):
            states = dict(self._journal.get("steady_states") or {})
            if self._probes and not states.get(self._asked):
                states[self._asked] = {"steady_state_met": None, "probes": list(self._probes)}
            status = self._journal.get("status") or RUNNING
            so_far = {**self._journal, "status": status, "steady_states": states}
            self._directory.write_json("journal.json", redacted(so_far), indent=None)  # it is written often

"""`chaosext run`: drives chaoslib, but closes its gaps and derives its own verdict.

Stock `chaos run` ends with "completed" and exit 0 after a failed baseline, injection or rollback, and turns SIGTERM
inside an activity into a failed activity, so that the next action runs. Here the baseline is checked before chaoslib's
runner starts, signals leave through `SystemExit` (which activities don't swallow), and the journal decides the verdict.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from chaosext.experiment.activity_names import RESCHEDULE
from chaosext.experiment.load import calls, require_playable
from chaosext.experiment.resolve import completed
from chaosext.model.errors import ChaosextError, Refused, Unreachable
from chaosext.model.paths import state_home
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.fault.inject import prepare
from chaosext.run.fault.run_lock import lock_cluster, unlock_cluster
from chaosext.run.fault.state import fault_of
from chaosext.run.finish import Renderer, finish
from chaosext.run.monitor.sentinels import LONGEST_PLACING_S, place_sentinels
from chaosext.run.monitor.steady_baseline import Baseline, begin_baseline, keep
from chaosext.run.monitor.surroundings import surroundings
from chaosext.run.monitor.watchers import OBJECTS, Watching
from chaosext.run.preflight import OwnRehearsal, brief, rehearse_run
from chaosext.run.providers import bound_providers
from chaosext.run.rollback.kube_dns import require_reschedulable
from chaosext.run.session.approval import INTENDED, approval_sha256, intended, require_approved
from chaosext.run.session.connection import connect, require_pinned
from chaosext.run.session.run_directory import require_room
from chaosext.run.shutdown import Leaving, leaving_on_signals
from chaosext.run.stop.conditions import watched
from chaosext.run.stop.watcher import require_none_true, watch_for_stops
from chaosext.run.verdict.facts import ABORT_REASON
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.model.result import Briefing, RunResult
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.run.session.run_context import RunContext


Foretelling = Callable[["Prediction | None", str], None]
"""Receives the prediction, or None and why there is none."""


def ready(resolved: Resolved, run: RunContext) -> Briefing:
    """Check pin, approval, limits and lock, in this order: until all of them hold, nothing of the experiment runs.

    Raises `Refused` if one does not. Takes the lock last.
    """
    require_pinned(resolved.settings.context)
    cluster = connect(resolved.settings)
    run.trail.context, run.trail.cluster_uid = cluster.context, cluster.namespace_uid("kube-system")
    run.stash[INTENDED] = intended(resolved)
    run.trail.approval_sha256 = approval_sha256(require_approved(cluster, run.stash[INTENDED]))
    require_rollback(resolved)
    cuts = []
    for place, wish in resolved.wishes():
        with refused_at(place):
            cuts.append(prepare(resolved.settings, wish, run).cut)
    briefing = brief(cluster, resolved.settings, max((cut.ttl_s for cut in cuts), default=None))
    run.trail.begin(resolved.experiment)
    run.lasts_s = _whole_s(resolved)
    lock_cluster(resolved.settings, run, cuts)
    begin_baseline(run, Baseline.take(cluster, resolved.settings))
    keep(run)
    return briefing


def _whole_s(resolved: Resolved) -> float:
    from chaosext.run.hooks import whole_s

    return whole_s(resolved)


def run_strictly(
    resolved: Resolved,
    run: RunContext,
    *,
    render: Renderer,
    tell: Callable[[Briefing], None],
    foretell: Foretelling | None = None,
    expected: Outcome | None = None,
    forsaken: Callable[[RunResult], NoReturn] | None = None,
    abandoned: Callable[[str], NoReturn] | None = None,
) -> RunResult:
    """Run the whole experiment: refuse, baseline, method, hypothesis, rollbacks; then heal what is left and judge.

    `tell` receives the state before the cut, before it is made, and `foretell` the prediction, or why there is none;
    without it nothing is rehearsed. `forsaken` ends the process with the result if the main thread can't be made to
    leave its activity; without it such an activity is waited for. `abandoned` ends the process without a result if the
    run's end does not come in time, and receives the reason.
    """
    journal = _journal(resolved.experiment)
    with leaving_on_signals() as left:
        playing = _Playing(
            resolved=resolved, run=run, journal=journal, left=left, tell=tell, foretell=foretell
        )

        def end() -> RunResult:
            return finish(
                run,
                journal,
                briefing=playing.briefing,
                render=render,
                left=left,
                expected=expected,
            )

        if forsaken:
            left.forsaken = lambda: forsaken(end())
        left.abandoned = abandoned
        playing.to_its_end()
        return end()


@dataclass(slots=True, kw_only=True)
class _Playing:
    """The run in progress, and its results so far."""

    resolved: Resolved
    run: RunContext
    journal: dict[str, Any]
    left: Leaving
    tell: Callable[[Briefing], None]
    foretell: Foretelling | None
    briefing: Briefing | None = None

    def to_its_end(self) -> None:
        """Run until it is over or left. Raises `Refused` if nothing was cut; other failures affect the verdict."""
        try:
            self.left.play(self._play)
        except Exception as error:
            if isinstance(error, Refused) and not fault_of(self.run).cuts:
                unlock_cluster(self.run)
                raise
            _abort(self.journal, error)

    def _play(self) -> None:
        self.left.begin("the preparation of the experiment", self.resolved.settings.activity_timeout_s)
        bound_providers()
        with unreachable_is_refused():
            require_room(state_home(), "state", "XDG_STATE_HOME")
            intent_log().require_writable()
            watched(self.resolved)  # refuses malformed conditions before anything is asked
            self.briefing = ready(self.resolved, self.run)
            self.resolved = completed(self.resolved)
            require_playable(self.resolved.experiment)
            conditions = watched(self.resolved)
            require_none_true(conditions)
            around = surroundings(self.resolved.settings)
        expected = rehearse_run(self.resolved, self.run.directory) if self.foretell else OwnRehearsal()
        if self.foretell:
            self.foretell(expected.prediction, "" if expected.prediction else "; ".join(expected.lines))
        self.tell(self.briefing)
        self.briefing = replace(self.briefing, outlook=(*expected.lines, *self.briefing.outlook))
        stops = watch_for_stops(
            self.resolved.settings,
            self.run,
            conditions,
            abortable=fault_of(self.run).lock is not None,
            may_stop=self.left.stop,
            leave=self.left.interrupt,
        )
        with stops, Watching(around, self.run.recorder, self.run.directory.inside) as watching:
            self.run.stash[OBJECTS] = watching.objects
            _play(self.resolved, self.journal, self.run, self.left, watching)


def require_rollback(resolved: Resolved) -> None:
    """Raise `Refused` if the experiment deletes Pods, and that would be refused later."""
    for place, _ in calls(resolved.experiment, RESCHEDULE):
        with refused_at(place):
            require_reschedulable(resolved.settings)


@contextmanager
def refused_at(place: str) -> Iterator[None]:
    """Add the place in the experiment to a refusal."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{place}: {error.message}", error.fix) from None


@contextmanager
def unreachable_is_refused() -> Iterator[None]:
    """Turn `Unreachable` into a refusal: before the baseline nothing is touched yet."""
    try:
        yield
    except Unreachable as error:
        fix = error.fix or "check that the API server and the nodes answer, then run again"
        raise Refused(error.message, fix) from None


def refusal(error: Refused) -> Verdict:
    """The verdict of a run that ended before it started."""
    return Verdict(outcome=Outcome.REFUSED, reasons=(str(error),))


def _play(
    resolved: Resolved, journal: dict[str, Any], run: RunContext, left: Leaving, watching: Watching
) -> None:
    """Check the baseline; only if it holds, place the sentinels, and let chaoslib run the rest."""
    from chaoslib.caching import cache_activities

    from chaosext.run.hooks import Announcer, HealsFirst, InTime, Once, Scribe

    _quieten()
    cache_activities(resolved.experiment)  # the lookup table of a `ref`
    scribe, in_time = Scribe(run.directory, journal), InTime(left, resolved)
    scribe.write()
    with Once(resolved) as runner:
        runner.register_event_handler(scribe)
        runner.register_event_handler(Announcer(run))
        runner.register_event_handler(in_time)
        runner.register_event_handler(HealsFirst(run))
        if _gate_holds(resolved, journal, runner.event_registry):
            with in_time.during("placing the sentinels", LONGEST_PLACING_S), unreachable_is_refused():
                place_sentinels(resolved, run, watching)
            _play_method(resolved, journal, runner)


def _play_method(resolved: Resolved, journal: dict[str, Any], runner: Any) -> None:
    """Run chaoslib. Errors that it lets through, such as a range tolerance for a text, end its run only."""
    settings = {"runtime": {"rollbacks": {"strategy": "always"}}}
    try:
        runner.run(_with_control(resolved.experiment), settings, journal=journal)
    except Exception as error:
        _abort(journal, error)


def _abort(journal: dict[str, Any], error: Exception) -> None:
    """Abort the journal; only the type of a foreign error is recorded: its text may quote secrets."""
    said = f": {error}" if isinstance(error, ChaosextError) else ""
    journal["status"], journal[ABORT_REASON] = "aborted", f"{type(error).__name__}{said}"


def _with_control(experiment: Experiment) -> Experiment:
    """Add our control, which ends the method when a cut fails, even if the experiment doesn't name it."""
    provider = {"type": "python", "module": "chaosext.controls"}
    named = experiment.get("controls", [])
    if any(control.get("provider", {}).get("module") == provider["module"] for control in named):
        return experiment
    return {**experiment, "controls": [*named, {"name": "chaosext", "provider": provider}]}


def _gate_holds(resolved: Resolved, journal: dict[str, Any], event_registry: Any) -> bool:
    from chaoslib.hypothesis import run_steady_state_hypothesis

    try:
        state = run_steady_state_hypothesis(
            resolved.experiment,
            deepcopy(resolved.configuration),
            deepcopy(resolved.secrets),
            dry=None,
            event_registry=event_registry,
        )
    except Exception as error:  # chaoslib crashes on a tolerance that doesn't fit the probe's output
        raise Refused(
            f"steady-state-hypothesis: {type(error).__name__} in a tolerance",
            "write tolerances that fit the probes' output",
        ) from None
    journal["steady_states"]["before"] = state
    return state is None or bool(state["steady_state_met"])


def _journal(experiment: Experiment) -> dict[str, Any]:
    from chaoslib.run import initialize_run_journal

    journal: dict[str, Any] = initialize_run_journal(experiment)
    journal["start"] = datetime.now(UTC).isoformat()
    return journal


def _quieten() -> None:
    """Silence chaoslib, which logs for its own command line; people see the timeline and the verdict."""
    logger = logging.getLogger("chaostoolkit")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False

"""`chaosext run`: drives chaoslib, but closes its gaps and derives its own verdict.

Stock `chaos run` ends with "completed" and exit 0 after a failed gate, a failed injection, a failed rollback, and
turns SIGTERM inside an activity into a failed activity, so that the next action runs. Here the gate is asked before
chaoslib's runner starts, signals leave through `SystemExit` (which activities don't swallow), and what counts is
what the journal shows.
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
from chaosext.run.finish import Renderer, finish
from chaosext.run.monitor.sentinels import LONGEST_PLACING_S, place_sentinels
from chaosext.run.monitor.watchers import Watching
from chaosext.run.own_rehearsal import Rehearsed, rehearse_run
from chaosext.run.preflight import brief
from chaosext.run.providers import bound_providers
from chaosext.run.rollback.kube_dns import require_reschedulable
from chaosext.run.session.approval import approval_sha256, intended, require_approved
from chaosext.run.session.connection import connect, require_pinned, surroundings
from chaosext.run.session.run_directory import require_room
from chaosext.run.shutdown import Leaving, leaving_on_signals
from chaosext.run.stop.conditions import watched
from chaosext.run.stop.watcher import require_none_true, watch_for_stops
from chaosext.run.verdict.facts import ABORT_REASON
from chaosext.run.verdict.steady_baseline import Baseline, keep
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.model.result import Briefing, RunResult
    from chaosext.rehearsal.predict.prediction import Prediction
    from chaosext.run.session.run_context import RunContext


Foretelling = Callable[["Prediction | None", str], None]
"""Is given the prediction, or None and why there is none."""


def ready(resolved: Resolved, run: RunContext) -> Briefing:
    """Pin, approval, limits and lock, in this order: until all of them hold, nothing of the experiment is run.

    Raises `Refused` where one does not. Takes the lock, at last.
    """
    require_pinned(resolved.settings.context)
    cluster = connect(resolved.settings)
    run.trail.context, run.trail.cluster_uid = cluster.context, cluster.namespace_uid("kube-system")
    run.intended = intended(resolved)
    run.trail.approval_sha256 = approval_sha256(require_approved(cluster, run.intended))
    require_rollback(resolved)
    cuts = []
    for place, wish in resolved.wishes():
        with refused_at(place):
            cuts.append(prepare(resolved.settings, wish, run).cut)
    briefing = brief(cluster, resolved.settings, max((cut.ttl_s for cut in cuts), default=None))
    run.trail.begin(resolved.experiment)
    run.lasts_s = _whole_s(resolved)
    lock_cluster(resolved.settings, run, cuts)
    run.baseline = Baseline.take(cluster, resolved.settings)
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
    """The whole experiment: refuse, gate, method, hypothesis, rollbacks; then heal what is left and judge.

    `tell` is given what is known before the cut, before it is made, and `foretell` what the cut is expected to do, or
    why that isn't known; without it nothing is rehearsed. `forsaken` ends the process with the result where
    the main thread can't be made to leave what it plays; without it such an activity is waited for. `abandoned` ends it
    without one where the run's end does not come in time, and is told so.
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
    """What is played, and what came of it so far."""

    resolved: Resolved
    run: RunContext
    journal: dict[str, Any]
    left: Leaving
    tell: Callable[[Briefing], None]
    foretell: Foretelling | None
    briefing: Briefing | None = None

    def to_its_end(self) -> None:
        """Play until it is over or left. Raises `Refused` where nothing was cut; whatever else fails is judged."""
        try:
            self.left.play(self._play)
        except Exception as error:
            if isinstance(error, Refused) and not self.run.cuts:
                unlock_cluster(self.run)
                raise
            _abort(self.journal, error)

    def _play(self) -> None:
        self.left.begin("what precedes the experiment", self.resolved.settings.activity_timeout_s)
        bound_providers()
        with unreachable_is_refused():
            require_room(state_home(), "state", "XDG_STATE_HOME")
            intent_log().require_writable()
            watched(self.resolved)  # those that are none are refused before anybody is asked anything
            self.briefing = ready(self.resolved, self.run)
            self.resolved = completed(self.resolved)
            require_playable(self.resolved.experiment)
            conditions = watched(self.resolved)
            require_none_true(conditions)
            around = surroundings(self.resolved.settings)
        expected = rehearse_run(self.resolved, self.run.directory) if self.foretell else Rehearsed()
        if self.foretell:
            self.foretell(expected.prediction, "" if expected.prediction else "; ".join(expected.lines))
        self.tell(self.briefing)
        self.briefing = replace(self.briefing, outlook=(*expected.lines, *self.briefing.outlook))
        stops = watch_for_stops(
            self.resolved.settings,
            self.run,
            conditions,
            abortable=self.run.lock is not None,
            may_stop=self.left.stop,
            leave=self.left.interrupt,
        )
        with stops, Watching(around, self.run.recorder, self.run.directory.inside) as watching:
            self.run.objects = watching.objects
            _play(self.resolved, self.journal, self.run, self.left, watching)


def require_rollback(resolved: Resolved) -> None:
    """Raise `Refused` where the experiment deletes Pods, and that would be refused when it comes to it."""
    for place, _ in calls(resolved.experiment, RESCHEDULE):
        with refused_at(place):
            require_reschedulable(resolved.settings)


@contextmanager
def refused_at(place: str) -> Iterator[None]:
    """Say at which place of the experiment something is refused."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{place}: {error.message}", error.fix) from None


@contextmanager
def unreachable_is_refused() -> Iterator[None]:
    """Before the gate nothing is touched yet, so whatever doesn't answer is a reason to refuse."""
    try:
        yield
    except Unreachable as error:
        fix = error.fix or "check that the API server and the nodes answer, then run again"
        raise Refused(error.message, fix) from None


def refusal(error: Refused) -> Verdict:
    """The verdict of a run that ended before it began."""
    return Verdict(outcome=Outcome.REFUSED, reasons=(str(error),))


def _play(
    resolved: Resolved, journal: dict[str, Any], run: RunContext, left: Leaving, watching: Watching
) -> None:
    """Ask the gate; only if it holds, place the sentinels, and hand over to chaoslib for all the rest."""
    from chaoslib.caching import cache_activities

    from chaosext.run.hooks import Announcer, HealsFirst, InTime, Once, Scribe

    _quieten()
    cache_activities(resolved.experiment)  # what a `ref` is looked up in
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
    """chaoslib lets through what its tolerances raise, such as a range for a text: that ends the run, not ours."""
    settings = {"runtime": {"rollbacks": {"strategy": "always"}}}
    try:
        runner.run(_with_control(resolved.experiment), settings, journal=journal)
    except Exception as error:
        _abort(journal, error)


def _abort(journal: dict[str, Any], error: Exception) -> None:
    """Of an error that is not ours only the type is told: its text may quote anything."""
    said = f": {error}" if isinstance(error, ChaosextError) else ""
    journal["status"], journal[ABORT_REASON] = "aborted", f"{type(error).__name__}{said}"


def _with_control(experiment: Experiment) -> Experiment:
    """Our control ends the method when a cut fails; an experiment that doesn't name it has it all the same."""
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
    except Exception as error:  # chaoslib trips over a tolerance that doesn't fit the probe's answer
        raise Refused(
            f"steady-state-hypothesis: {type(error).__name__} in a tolerance",
            "write tolerances that fit what the probes return",
        ) from None
    journal["steady_states"]["before"] = state
    return state is None or bool(state["steady_state_met"])


def _journal(experiment: Experiment) -> dict[str, Any]:
    from chaoslib.run import initialize_run_journal

    journal: dict[str, Any] = initialize_run_journal(experiment)
    journal["start"] = datetime.now(UTC).isoformat()
    return journal


def _quieten() -> None:
    """chaoslib logs for its own command line; what people should see is the timeline and the verdict."""
    logger = logging.getLogger("chaostoolkit")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False

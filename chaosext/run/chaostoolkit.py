"""A run under plain `chaos run`: watched from its first activity to its last, with a verdict at the end."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from chaoslib.run import Runner
from chaoslib.types import Dry

from chaosext.experiment.resolve import resolved_of
from chaosext.experiment.values import BY_HAND, Values, look_up
from chaosext.model.errors import ChaosextError, Refused
from chaosext.run.fault.heal import left_behind
from chaosext.run.fault.inject import plan, prepare
from chaosext.run.fault.run_lock import lock_cluster
from chaosext.run.finish import finish
from chaosext.run.hooks import whole_s
from chaosext.run.monitor.sentinels import place_sentinels
from chaosext.run.monitor.steady_baseline import Baseline, begin_baseline, keep
from chaosext.run.monitor.surroundings import surroundings
from chaosext.run.monitor.watchers import Watching
from chaosext.run.preflight import brief
from chaosext.run.session.approval import INTENDED, approval_sha256, intended_of, require_approved
from chaosext.run.session.connection import connect, require_pinned
from chaosext.run.session.run_context import current
from chaosext.run.stop.conditions import watched
from chaosext.run.stop.watcher import require_none_true, watch_for_stops
from chaosext.run.verdict.facts import ABORT_REASON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.model.result import Briefing, RunResult
    from chaosext.run.finish import Renderer
    from chaosext.run.stop.conditions import WatchedCondition
    from chaosext.run.stop.watcher import StopWatch

logger = logging.getLogger("chaostoolkit")

NOTHING_IS_CUT = (Dry.ACTIONS, Dry.ACTIVITIES)
"""Modes of `chaos run --dry` that run no action."""


@dataclass(slots=True)
class Attended:
    """The state before the cut, and the watch that lasts until `finish`. `refused`: why the experiment did not run.

    `stops` watches the stop conditions until the run is `restoring`: its rollbacks run, or it has ended.
    """

    resolved: Resolved
    briefing: Briefing
    watching: Watching
    refused: str = ""
    stops: StopWatch | None = None
    restoring: bool = False

    @property
    def outlook(self) -> tuple[str, ...]:
        return self.briefing.outlook

    def begin_method(self) -> None:
        """Check the stop conditions, and place the sentinels, which needs the run's lock on its cluster.

        A dry run needs neither. Raises `Refused` (or `Unreachable`) if a cut would be refused, a condition is true, or
        a sentinel can't be placed: nothing was touched.
        """
        resolved, run = self.resolved, current()
        if _cuts_nothing(resolved.experiment):
            return
        try:
            if resolved.settings.sentinel:
                cuts = [prepare(resolved.settings, wish, run).cut for _, wish in resolved.wishes()]
                run.lasts_s = whole_s(resolved)
                lock_cluster(resolved.settings, run, cuts)
                keep(run)
            conditions = watched(resolved)
            require_none_true(conditions)
            if resolved.settings.sentinel:
                place_sentinels(resolved, run, self.watching)
            self._watch_for_stops(conditions)
        except ChaosextError as error:
            self.refused = str(error)
            raise

    def _watch_for_stops(self, conditions: Sequence[WatchedCondition]) -> None:
        self.stops = watch_for_stops(
            self.resolved.settings,
            current(),
            conditions,
            abortable=any(self.resolved.wishes()),
            may_stop=lambda: not self.restoring,
            leave=self._leave,
        )
        self.stops.__enter__()

    def _leave(self) -> None:
        """Stop chaoslib: SIGUSR1 ends the current activity; rollbacks follow as `--rollback-strategy` says."""
        if not self.restoring:
            os.kill(os.getpid(), signal.SIGUSR1)

    def begin_rollbacks(self) -> None:
        """From here on the run can't be stopped; a stopped run is healed once more, as it may have been arming."""
        self._end_stops()
        if current().stopped:
            left_behind(current())

    def _end_stops(self) -> None:
        self.restoring = True
        if self.stops:
            self.stops.__exit__()

    def finish(self, journal: Mapping[str, Any], *, render: Renderer) -> RunResult:
        """Stop watching, heal what is left, derive the verdict and write everything."""
        self._end_stops()
        self.watching.__exit__()
        if self.refused:
            journal = {**journal, ABORT_REASON: self.refused}
        return finish(current(), journal, briefing=self.briefing, render=render)


def attend(experiment: Experiment, configuration: Mapping[str, Any], secrets: Mapping[str, Any]) -> Attended:
    """Start watching an experiment with the values that Chaos Toolkit has looked up, if it may run.

    Raises `Refused` if it may not: nothing of it has run. A dry run that cuts nothing always may.
    """
    resolved = resolved_of(experiment, Values(configuration=configuration, secrets=secrets))
    run = current()
    cluster = connect(resolved.settings)
    run.trail.context, run.trail.cluster_uid = cluster.context, cluster.namespace_uid("kube-system")
    if not _cuts_nothing(experiment):
        require_pinned(resolved.settings.context)
        run.trail.approval_sha256 = approval_sha256(require_approved(cluster, run.stash[INTENDED]))
        for _, wish in resolved.wishes():
            plan(resolved.settings, wish, run=run.id, owner=run.owner)
    ttl_s = max((wish.ttl_s for _, wish in resolved.wishes()), default=None)
    briefing = brief(cluster, resolved.settings, ttl_s)
    begin_baseline(run, Baseline.take(cluster, resolved.settings))
    run.trail.begin(experiment)
    watching = Watching(surroundings(resolved.settings), run.recorder, run.directory.inside)
    watching.__enter__()
    return Attended(resolved, briefing, watching)


def _cuts_nothing(experiment: Experiment) -> bool:
    return experiment.get("dry") in NOTHING_IS_CUT


def hold_look_ups_back() -> None:
    """Keep Chaos Toolkit from running configuration probes, and from asking Vault, before the experiment may run.

    It does both before it calls any control. Idempotent. A dry run looks nothing up.
    """
    configure = Runner.configure
    if getattr(configure, "held_back_by_chaosext", False):
        return

    @wraps(configure)
    def configured(self: Any, experiment: Experiment, settings: Any, experiment_vars: Any) -> None:
        try:
            _require_look_ups(experiment, *(experiment_vars or (None, None)))
        except ChaosextError as error:
            logger.error(f"chaosext: {error}")
            raise SystemExit(1) from None
        configure(self, experiment, settings, experiment_vars)

    configured.held_back_by_chaosext = True  # type: ignore[attr-defined]
    Runner.configure = configured


def _require_look_ups(experiment: Experiment, configured: Any, confided: Any) -> None:
    """Raise `Refused` if a value needs something to run, for an experiment that may not run (yet)."""
    values = look_up(experiment, configured, confided)
    if not values.pending:
        return
    named = ", ".join(values.pending)
    if _cuts_nothing(experiment):
        raise Refused(f"{named}: a dry run runs no probe to look up a value", BY_HAND)
    settings = resolved_of(experiment, values).settings
    require_pinned(settings.context)
    what = intended_of(experiment, values.configuration, values.secrets)
    require_approved(connect(settings), what)

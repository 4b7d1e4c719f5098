"""A run under plain `chaos run`: watched from its first activity to its last, judged at its end."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaoslib.types import Dry

from chaosext.model.errors import ChaosextError
from chaosext.run.approving import approval_sha256, require_approved
from chaosext.run.briefing import brief
from chaosext.run.context import current
from chaosext.run.cutting.fault import prepare
from chaosext.run.cutting.heal import left_behind
from chaosext.run.cutting.locking import lock_cluster
from chaosext.run.judging.facts import ABORT_REASON
from chaosext.run.judging.finish import finish
from chaosext.run.reach import connect, surroundings
from chaosext.run.reading.resolve import resolve
from chaosext.run.stopping.conditions import watched
from chaosext.run.stopping.stop import watch_for_stops
from chaosext.run.stopping.watch import require_none_true
from chaosext.run.watch.sentinels import place_sentinels
from chaosext.run.watch.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.model.result import Briefing, RunResult
    from chaosext.run.judging.finish import Renderer
    from chaosext.run.reading.experiment import Experiment
    from chaosext.run.reading.resolve import Resolved
    from chaosext.run.stopping.conditions import Watched
    from chaosext.run.stopping.watch import StopWatch

NOTHING_IS_CUT = (Dry.ACTIONS, Dry.ACTIVITIES)
"""Those of `chaos run --dry` that play no action."""


@dataclass(slots=True)
class Attended:
    """What was known before the cut, and the watch that goes on until `finish`. `refused`: why nothing was played.

    `stops` watches for what may stop the run, until it is `restoring`: its rollbacks are played, or it has ended.
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
        """Place the sentinels, for which the run must have its cluster for itself from now on; a dry run needs none.

        Raises `Refused` (or `Unreachable`) where a cut would be, or one can't be placed: nothing was touched.
        """
        resolved, run = self.resolved, current()
        if resolved.experiment.get("dry") in NOTHING_IS_CUT:
            return
        try:
            approval = require_approved(connect(resolved.settings), run.intended)
            run.trail.approval_sha256 = approval_sha256(approval)
            conditions = watched(resolved)
            require_none_true(conditions)
            if resolved.settings.sentinel:
                cuts = [prepare(resolved.settings, wish, run).cut for _, wish in resolved.wishes()]
                lock_cluster(resolved.settings, run, cuts)
                place_sentinels(resolved, run, self.watching)
            self._watch_for_stops(conditions)
        except ChaosextError as error:
            self.refused = str(error)
            raise

    def _watch_for_stops(self, conditions: Sequence[Watched]) -> None:
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
        """As chaoslib wants it: SIGUSR1 ends what is played; rollbacks follow as `--rollback-strategy` says."""
        if not self.restoring:
            os.kill(os.getpid(), signal.SIGUSR1)

    def begin_rollbacks(self) -> None:
        """From here on nothing is stopped any more; a run that was is healed once more, as it may have been arming."""
        self._end_stops()
        if current().stopped:
            left_behind(current())

    def _end_stops(self) -> None:
        self.restoring = True
        if self.stops:
            self.stops.__exit__()

    def finish(self, journal: Mapping[str, Any], *, render: Renderer) -> RunResult:
        """Stop watching, heal what is left, judge and write everything down."""
        self._end_stops()
        self.watching.__exit__()
        if self.refused:
            journal = {**journal, ABORT_REASON: self.refused}
        return finish(current(), journal, briefing=self.briefing, render=render)


def attend(experiment: Experiment) -> Attended:
    """Begin to watch. Raises `Refused` for a cluster that can't be asked or isn't the pinned one."""
    resolved = resolve(experiment)
    ttl_s = max((wish.ttl_s for _, wish in resolved.wishes()), default=None)
    cluster, trail = connect(resolved.settings), current().trail
    briefing = brief(cluster, resolved.settings, ttl_s)
    trail.context, trail.cluster_uid = cluster.context, cluster.namespace_uid("kube-system")
    trail.begin(experiment)
    watching = Watching(surroundings(resolved.settings), current().recorder, current().directory.path)
    watching.__enter__()
    return Attended(resolved, briefing, watching)

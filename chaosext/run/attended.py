"""A run under plain `chaos run`: watched from its first activity to its last, judged at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaoslib.types import Dry

from chaosext.model.errors import ChaosextError
from chaosext.run.approving import approval_sha256, require_approved
from chaosext.run.briefing import brief
from chaosext.run.context import current
from chaosext.run.cutting.fault import prepare
from chaosext.run.cutting.locking import lock_cluster
from chaosext.run.judging.facts import ABORT_REASON
from chaosext.run.judging.finish import finish
from chaosext.run.reach import connect, surroundings
from chaosext.run.reading.resolve import resolve
from chaosext.run.watch.sentinels import place_sentinels
from chaosext.run.watch.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.result import Briefing, RunResult
    from chaosext.run.judging.finish import Renderer
    from chaosext.run.reading.experiment import Experiment
    from chaosext.run.reading.resolve import Resolved

NOTHING_IS_CUT = (Dry.ACTIONS, Dry.ACTIVITIES)
"""Those of `chaos run --dry` that play no action."""


@dataclass(slots=True)
class Attended:
    """What was known before the cut, and the watch that goes on until `finish`. `refused`: why nothing was played."""

    resolved: Resolved
    briefing: Briefing
    watching: Watching
    refused: str = ""

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
            if not resolved.settings.sentinel:
                return
            cuts = [prepare(resolved.settings, wish, run).cut for _, wish in resolved.wishes()]
            lock_cluster(resolved.settings, run, cuts)
            place_sentinels(resolved, run, self.watching)
        except ChaosextError as error:
            self.refused = str(error)
            raise

    def finish(self, journal: Mapping[str, Any], *, render: Renderer) -> RunResult:
        """Stop watching, heal what is left, judge and write everything down."""
        self.watching.__exit__()
        if self.refused:
            journal = {**journal, ABORT_REASON: self.refused}
        return finish(current(), journal, briefing=self.briefing, render=render)


def attend(experiment: Experiment) -> Attended:
    """Begin to watch. Raises `Refused` for a cluster that can't be asked or isn't the pinned one."""
    resolved = resolve(experiment)
    ttl_s = max((wish.ttl_s for _, wish in resolved.wishes()), default=None)
    cluster, trail = connect(resolved.settings), current().trail
    briefing = brief(cluster, ttl_s)
    trail.context, trail.cluster_uid = cluster.context, cluster.namespace_uid("kube-system")
    trail.begin(experiment)
    watching = Watching(surroundings(resolved.settings), current().recorder, current().directory.path)
    watching.__enter__()
    return Attended(resolved, briefing, watching)

"""A run under plain `chaos run`: watched from its first activity to its last, judged at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.run.briefing import brief
from chaosext.run.context import current
from chaosext.run.judging.finish import finish
from chaosext.run.reach import connect, surroundings
from chaosext.run.reading.resolve import resolve
from chaosext.run.watch.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.result import Briefing, RunResult
    from chaosext.run.judging.finish import Renderer
    from chaosext.run.reading.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Attended:
    """What was known before the cut, and the watch that goes on until `finish`."""

    briefing: Briefing
    watching: Watching

    @property
    def outlook(self) -> tuple[str, ...]:
        return self.briefing.outlook

    def finish(self, journal: Mapping[str, Any], *, render: Renderer) -> RunResult:
        """Stop watching, heal what is left, judge and write everything down."""
        self.watching.__exit__()
        return finish(current(), journal, briefing=self.briefing, render=render)


def attend(experiment: Experiment) -> Attended:
    """Begin to watch. Raises `Refused` for a cluster that can't be asked or isn't the pinned one."""
    resolved = resolve(experiment)
    ttl_s = max((wish.ttl_s for _, wish in resolved.wishes()), default=None)
    cluster, trail = connect(resolved.settings), current().trail
    briefing = brief(cluster, ttl_s)
    trail.context, trail.cluster_uid = cluster.context, cluster.namespace_uid("kube-system")
    trail.begin(experiment)
    watching = Watching(surroundings(resolved.settings), current().recorder)
    watching.__enter__()
    return Attended(briefing, watching)

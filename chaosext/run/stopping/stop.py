"""What stops a run, and what that does: say so, heal at once, and leave what is played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.stopped import Stopper
from chaosext.model.timeline import Kind
from chaosext.run.cutting.heal import left_behind
from chaosext.run.cutting.verify import CutWatch
from chaosext.run.reach import connect
from chaosext.run.stopping.aborting import Abort
from chaosext.run.stopping.conditions import Watched
from chaosext.run.stopping.standing import Reply, Says, Standing
from chaosext.run.stopping.watch import StopWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaosext.model.stopped import Stopped
    from chaosext.run.context import RunContext
    from chaosext.run.reading.settings import Settings

KINDS = {Stopper.CONDITION: Kind.STOP_CONDITION, Stopper.ABORT: Kind.ABORT}
"""A cut that was lost is in the timeline already."""

RULES_S, PATHS_S = 2.0, 5.0
"""How often a cut in force is read on its nodes, and paths are tried. What is lost is to be named within 5 s."""

ANSWER_S = 30.0
"""What a look may take: its connects have 2 s each, twice, and a node that is in trouble 5 s."""


def watch_for_stops(
    settings: Settings,
    context: RunContext,
    conditions: Sequence[Watched],
    *,
    abortable: bool,
    may_stop: Callable[[], bool],
    leave: Callable[[], None],
) -> StopWatch:
    """What stops the run by the first of `conditions` that calls for it, when it is asked to on its Lease, or when its
    cut is lost.

    `abortable`: it cuts, and so has a Lease. `may_stop` says whether the run is still there to be stopped; `leave` ends
    what is played, once the cut is healed.
    """
    abort = Abort(connect(settings), context) if abortable else None

    def stop(why: Stopped) -> None:
        if may_stop():
            remains = _heal_at_once(context, why)
            if abort and why.by is Stopper.ABORT:
                abort.answer(remains)
            leave()

    watched = (*conditions, *([abort.watched, *_cut_watched(context)] if abort else []))
    return StopWatch(watched, stop)


def _cut_watched(context: RunContext) -> tuple[Watched, ...]:
    """A cut that is lost, as conditions that are false for as long as the nodes can't be asked."""

    def asked(look: Callable[[CutWatch], tuple[str, ...]]) -> Callable[[], Reply]:
        def ask() -> Reply:
            lost = look(context.cut_watch) if context.cut_watch else ()
            return Reply(Says.TRUE if lost else Says.FALSE, "; ".join(lost))

        return ask

    looks = ((CutWatch.look_at_rules, RULES_S), (CutWatch.look_at_paths, PATHS_S))
    return tuple(
        Watched(
            by=Stopper.CUT_LOST,
            name="",
            ask=asked(look),
            every_s=every_s,
            timeout_s=ANSWER_S,
            begins=Standing(),
        )
        for look, every_s in looks
    )


def _heal_at_once(context: RunContext, why: Stopped) -> tuple[str, ...]:
    """The network first, and before anybody is asked to leave: what plays now may take a while to do so."""
    context.stopped = why
    if why.by in KINDS:
        context.recorder.say(KINDS[why.by], f"Run/{context.id}", str(why))
    return left_behind(context)

"""What a stop does: say so, heal at once, and leave what is played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.stopped import Stopper
from chaosext.model.timeline import Kind
from chaosext.run.cutting.heal import left_behind
from chaosext.run.reach import connect
from chaosext.run.stopping.aborting import Abort
from chaosext.run.stopping.watch import StopWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaosext.model.stopped import Stopped
    from chaosext.run.context import RunContext
    from chaosext.run.reading.settings import Settings
    from chaosext.run.stopping.conditions import Watched

KINDS = {Stopper.CONDITION: Kind.STOP_CONDITION, Stopper.ABORT: Kind.ABORT}


def watch_for_stops(
    settings: Settings,
    context: RunContext,
    conditions: Sequence[Watched],
    *,
    abortable: bool,
    may_stop: Callable[[], bool],
    leave: Callable[[], None],
) -> StopWatch:
    """What stops the run by the first of `conditions` that calls for it, or when it is asked to on its Lease.

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

    return StopWatch((*conditions, *([abort.watched] if abort else [])), stop)


def _heal_at_once(context: RunContext, why: Stopped) -> tuple[str, ...]:
    """The network first, and before anybody is asked to leave: what plays now may take a while to do so."""
    context.stopped = why
    context.recorder.say(KINDS[why.by], f"Run/{context.id}", str(why))
    return left_behind(context)

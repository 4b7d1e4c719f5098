"""The dead man's switch: a long cut in short steps, so that the network is back soon after the runner died.

The kernel's timeouts are `dead_man_s` and are started anew again and again until the cut's TTL. Who renews can't bring
a cut back: renewing one that was healed or has expired is refused on every node (partition/apply.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model import clock
from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Inconclusive, Unreachable
from chaosext.partition.apply import TIMEOUT_S, renew
from chaosext.partition.cut import SHORTEST_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chaosext.model.clock import Moment
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.apply import Hold
    from chaosext.partition.cut import Cut


@dataclass(slots=True)
class Renewing:
    """Renews `cut`, armed just now, on its nodes until `until`, when its TTL is over, while the lock `hold` is held.

    `renewed` hears of each time.

    `held` is when the kernel lets go unless it is renewed once more. `lost` says why the cut has ended before that, ""
    while it has not.
    """

    cut: Cut
    shells: Mapping[str, NodeShell]
    until: Moment
    hold: Hold | None = None
    renewed: Callable[[], None] = lambda: None
    lost: str = ""
    held: Moment = field(init=False)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.held = clock.now().later(self.cut.step_s)

    def start(self) -> None:
        threading.Thread(target=self._keep, name="renewing", daemon=True).start()

    def stop(self) -> None:
        """Renew no more. One that is on its way does no harm: it is refused once the cut was healed."""
        if not self._stopped.is_set() and self.held.has_passed and not self._is_kept and not self.lost:
            self.lost = "no node answered a renewal in time"
        self._stopped.set()

    def require_kept(self) -> None:
        """Raise `Inconclusive` when the cut has ended before its time: what was seen since then proves nothing."""
        if self.lost:
            raise Inconclusive(
                f"the cut could not be renewed, and ended early: {self.lost}",
                "see why the node did not answer, or give a longer dead_man_s",
            )

    @property
    def _is_kept(self) -> bool:
        """Whether the kernel holds the cut to its end, without any more renewals."""
        return self.held >= self.until.later(-SHORTEST_TTL_S)

    def _keep(self) -> None:
        every_s = self.cut.step_s / 3
        while not (self._is_kept or self.until.has_passed or self._stopped.wait(every_s)):
            if not self._renewed(min(every_s, TIMEOUT_S)):
                return

    def _renewed(self, timeout_s: float) -> bool:
        """Whether to go on: a node that did not answer in time was not touched, and may answer the next time."""
        try:
            report = renew(self.cut, self.shells, until=self.until, hold=self.hold, timeout_s=timeout_s)
        except Unreachable:
            return True
        except Exception as error:  # whatever it is, nobody renews any more
            if not self._stopped.is_set():
                self.lost = str(error) if isinstance(error, ChaosextError) else type(error).__name__
            return False
        self.held = min(self.until, report.armed_at.later(self.cut.step_s))
        crash_point("renewed")
        if not self._stopped.is_set():  # else it would be told after the heal, as if a cut had come back
            self.renewed()
        return True

"""The dead man's switch: a long cut in short steps, so that the network is back soon after the runner died.

The kernel's timeouts are `dead_man_s` and are started anew again and again until the cut's TTL. Who renews can't bring
a cut back: renewing one that was healed or has expired is refused on every node (partition/apply.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Inconclusive, Unreachable
from chaosext.partition.apply import TIMEOUT_S, renew
from chaosext.partition.cut import SHORTEST_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chaosext.model.clock import Moment
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.cut import Cut


@dataclass(slots=True)
class Renewing:
    """Renews `cut` on its nodes until `until`, when its TTL is over. `renewed` hears of each time.

    `lost` says why the cut has ended before that, "" while it has not.
    """

    cut: Cut
    shells: Mapping[str, NodeShell]
    until: Moment
    renewed: Callable[[], None] = lambda: None
    lost: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._keep, name="renewing", daemon=True).start()

    def stop(self) -> None:
        """Renew no more. One that is on its way does no harm: it is refused once the cut was healed."""
        self._stopped.set()

    def require_kept(self) -> None:
        """Raise `Inconclusive` when the cut has ended before its time: what was seen since then proves nothing."""
        if self.lost:
            raise Inconclusive(
                f"the cut could not be renewed, and ended early: {self.lost}",
                "see why the node did not answer, or give a longer dead_man_s",
            )

    def _keep(self) -> None:
        every_s = self.cut.step_s / 3
        while not self._stopped.wait(every_s):
            left_s = -(self.until.age_s() or 0.0)
            if left_s < SHORTEST_TTL_S or not self._renewed(min(self.cut.step_s, left_s), every_s):
                return
            if left_s <= self.cut.step_s:  # that was the last step
                return

    def _renewed(self, step_s: float, timeout_s: float) -> bool:
        """Whether to go on: a node that did not answer in time was not touched, and may answer the next time."""
        step = replace(self.cut, ttl_s=step_s, dead_man_s=None)
        try:
            renew(step, self.shells, timeout_s=min(timeout_s, TIMEOUT_S))
        except Unreachable:
            return True
        except ChaosextError as error:
            if not self._stopped.is_set():
                self.lost = str(error)
            return False
        crash_point("renewed")
        self.renewed()
        return True

"""The dead man's switch: a long cut in short steps, so that the network is back soon after the runner dies.

The kernel's timeouts are `dead_man_s` and are renewed again and again until the cut's TTL. Renewing can't bring a cut
back: every node refuses to renew one that was healed or has expired (partition/apply.py).
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
    """Renews `cut`, armed just now, on its nodes until `until`, when its TTL ends, while the lock `hold` is held.

    Calls `renewed` each time. `held` is when the cut expires unless it is renewed once more. `lost` says why the cut
    has ended before that; "" while it has not.
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
        """Stop renewing. A renewal that is on its way does no harm: nodes refuse it once the cut is healed."""
        if not self._stopped.is_set() and self.held.has_passed and not self._is_kept and not self.lost:
            self.lost = "no node confirmed a renewal in time"
        self._stopped.set()

    def require_kept(self) -> None:
        """Raise `Inconclusive` if the cut has ended early: what was seen since then proves nothing."""
        if self.lost:
            raise Inconclusive(
                f"the cut could not be renewed and ended early: {self.lost}",
                "check why the node did not answer, or set a longer dead_man_s",
            )

    @property
    def _is_kept(self) -> bool:
        """Whether the cut lasts to its end without further renewals."""
        return self.held >= self.until.later(-SHORTEST_TTL_S)

    def _keep(self) -> None:
        every_s = self.cut.step_s / 3
        while not (self._is_kept or self.until.has_passed or self._stopped.wait(every_s)):
            if not self._renewed(min(every_s, TIMEOUT_S)):
                return

    def _renewed(self, timeout_s: float) -> bool:
        """Renew once; returns whether to go on: a node that did not answer was not touched, and may do so later."""
        try:
            report = renew(self.cut, self.shells, until=self.until, hold=self.hold, timeout_s=timeout_s)
        except Unreachable:
            return True
        except Exception as error:  # whatever it is, renewing has ended
            if not self._stopped.is_set():
                self.lost = str(error) if isinstance(error, ChaosextError) else type(error).__name__
            return False
        self.held = min(self.until, report.armed_at.later(self.cut.step_s))
        crash_point("renewed")
        if not self._stopped.is_set():  # else it would be reported after the heal, as if a cut had come back
            self.renewed()
        return True

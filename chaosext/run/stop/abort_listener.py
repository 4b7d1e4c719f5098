"""Listens for an abort from anywhere: an annotation on the cluster's Lease, seen within seconds, and answered."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from chaosext.cluster.lease import ANSWER, CUT, InForce, look_at_notes, write_notes
from chaosext.model.errors import ChaosextError
from chaosext.model.stopped import Stopper
from chaosext.run.fault.state import fault_of
from chaosext.run.stop.condition_state import ConditionReply, ConditionStanding, Says
from chaosext.run.stop.conditions import WatchedCondition

if TYPE_CHECKING:
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.lease import Notes
    from chaosext.run.session.run_context import RunContext

LOOK_S = 2.0
"""Interval of reading the Lease, seconds."""

ASK_S = 2.5
"""Timeout of each request, seconds."""

HEALED = "healed"
"""Prefix of an answer if everything was seen gone."""


@dataclass(slots=True)
class Abort:
    """Checks for abort requests; writes on the Lease what is active, and the answer to a request."""

    cluster: Cluster
    context: RunContext

    @property
    def watched(self) -> WatchedCondition:
        """As a stop condition that stays unknown while the API server can't be asked."""
        return WatchedCondition(
            by=Stopper.ABORT,
            name="",
            ask=self.look,
            every_s=LOOK_S,
            timeout_s=2 * ASK_S,
            begins=ConditionStanding(),
        )

    def look(self) -> ConditionReply:
        try:
            notes = look_at_notes(self.cluster, timeout_s=ASK_S)
            if notes.lock is None or notes.lock.run != self.context.id:
                return ConditionReply(Says.UNKNOWN, "the Lease is not this run's")
            if notes.abort and not notes.answer:
                return ConditionReply(Says.TRUE, notes.abort)
            self._say_what_is_in_force(notes)
        except ChaosextError as error:
            return ConditionReply(Says.UNKNOWN, error.message)
        return ConditionReply(Says.FALSE, "no request")

    def answer(self, remains: tuple[str, ...]) -> None:
        """Answer a request, bounded; otherwise its sender sees that the Lease is released, or no longer renewed."""
        said = f"not seen healed: {'; '.join(remains)}" if remains else f"{HEALED}; the rollbacks follow"
        with suppress(ChaosextError):
            write_notes(self.cluster, self.context.id, {ANSWER: said, CUT: ""}, timeout_s=ASK_S)

    def _say_what_is_in_force(self, notes: Notes) -> None:
        said = self._in_force(notes.now)
        if (said is None) != (notes.in_force is None):
            write_notes(self.cluster, self.context.id, {CUT: str(said or "")}, timeout_s=ASK_S)

    def _in_force(self, now: datetime) -> InForce | None:
        """A time by the API server's clock, as readers have other clocks."""
        fault = fault_of(self.context)
        if not fault.in_force or fault.expires_at is None:
            return None
        remaining_s = max(0.0, -(fault.expires_at.age_s() or 0.0))
        dead_man_s = max((cut.dead_man_s or 0.0 for cut in fault.cuts), default=0.0)
        return InForce(until=now.astimezone(UTC) + timedelta(seconds=remaining_s), dead_man_s=dead_man_s)

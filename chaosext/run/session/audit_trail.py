"""What a run tells the audit log. Before it touches anything it must be heard; from then on nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.partition.nft import table_of
from chaosext.safety.audit import Deed, Event, Receipt, audit_log, digest_of, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.verdict import Outcome, Verdict


def table_on(run: str, nodes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The run's table on these nodes, as an entry names what was touched."""
    return {"nodes": tuple(sorted(nodes)), "tables": (f"inet {table_of(run)}",)}


@dataclass(slots=True, kw_only=True)
class Trail:
    """One run's entries: who and where, which is the same in each, and the last one's receipt.

    `problems` say what could not be written down: each is a reason in the verdict.
    """

    run: str
    owner: str
    context: str = ""
    cluster_uid: str = ""
    experiment_sha256: str = ""
    approval_sha256: str = ""
    last: Receipt | None = None
    problems: list[str] = field(default_factory=list)

    def begin(self, experiment: Mapping[str, Any]) -> None:
        """The first entry. Raises `Refused` when it can't be written: then nothing may be touched."""
        self.experiment_sha256 = digest_of(experiment)
        self.require(Event.RUN_STARTED)

    def require(self, event: Event, **touched: Any) -> None:
        """Write down what is about to be done. Raises `Refused` when that can't be: then it may not be done."""
        self.last = audit_log().append(self._deed(event, **touched))

    def note(self, event: Event, **touched: Any) -> None:
        """Write down what was done. Bounded, never raises."""
        receipt = note(self._deed(event, **touched))
        if isinstance(receipt, Receipt):
            self.last = receipt
        else:
            self.problems.append(f"not in the audit log: {event.value}: {receipt}")

    def end(self, verdict: Verdict, expected: Outcome | None = None) -> None:
        """The last entry; its exit code is the process's."""
        self.note(Event.RUN_ENDED, verdict=verdict.headline, exit_code=verdict.exit_code_for(expected))

    def _deed(self, event: Event, **touched: Any) -> Deed:
        return Deed(
            event=event,
            run=self.run,
            owner=self.owner,
            context=self.context,
            cluster_uid=self.cluster_uid,
            experiment_sha256=self.experiment_sha256,
            approval_sha256=self.approval_sha256,
            **touched,
        )

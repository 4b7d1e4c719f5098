"""A run's entries in the audit log. They must be written before it touches anything; later it does not wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.partition.nft import table_of
from chaosext.safety.audit_log import AuditEvent, Deed, Receipt, audit_log, digest_of, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.verdict import Outcome, Verdict


def table_on(run: str, nodes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The run's table on these nodes, as fields of an entry."""
    return {"nodes": tuple(sorted(nodes)), "tables": (f"inet {table_of(run)}",)}


@dataclass(slots=True, kw_only=True)
class Trail:
    """One run's entries: owner and place, the same in each, and the last one's receipt.

    `problems`: what could not be written; each is a reason in the verdict.
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
        """Write the first entry. Raises `Refused` if it can't be written: then nothing may be touched."""
        self.experiment_sha256 = digest_of(experiment)
        self.require(AuditEvent.RUN_STARTED)

    def require(self, event: AuditEvent, **touched: Any) -> None:
        """Record an action before it is done. Raises `Refused` if that fails: then it may not be done."""
        self.last = audit_log().append(self._deed(event, **touched))

    def note(self, event: AuditEvent, **touched: Any) -> None:
        """Record what was done. Bounded, never raises."""
        receipt = note(self._deed(event, **touched))
        if isinstance(receipt, Receipt):
            self.last = receipt
        else:
            self.problems.append(f"not in the audit log: {event.value}: {receipt}")

    def end(self, verdict: Verdict, expected: Outcome | None = None) -> None:
        """Write the last entry; its exit code is the process's."""
        self.note(AuditEvent.RUN_ENDED, verdict=verdict.headline, exit_code=verdict.exit_code_for(expected))

    def _deed(self, event: AuditEvent, **touched: Any) -> Deed:
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

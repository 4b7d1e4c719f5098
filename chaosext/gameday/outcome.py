"""What came of a game day, in one value: a line of gamedays.jsonl, the webhook's JSON, the text of an Event. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SCHEMA = "chaosext.gameday/v1"

SAID = 3
"""How many reasons a headline has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`run` is "" where none began. `cleaned_up`: what was left of earlier runs and removed, or found expired.

    `facts`: of the run's result what a summary needs (`FACTS`). `problems`: what of the telling went wrong.
    """

    name: str
    namespace: str
    job: str
    context: str
    cluster_uid: str
    experiment: str
    began_at: datetime
    ended_at: datetime
    verdict: str
    exit_code: int
    reasons: tuple[str, ...]
    run: str = ""
    cleaned_up: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """One line: the verdict, why, and what earlier runs had left."""
        why = "; ".join(self.reasons[:SAID])
        return f"{self.verdict} (exit {self.exit_code})" + (f": {why}" if why else "")

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "namespace": self.namespace,
            "job": self.job,
            "context": self.context,
            "cluster_uid": self.cluster_uid,
            "experiment": self.experiment,
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "run": self.run,
            "cleaned_up": list(self.cleaned_up),
            "facts": dict(self.facts) if self.facts is not None else None,
            "problems": list(self.problems),
        }


FACTS = ("duration_s", "kube_dns_moved", "longest_dns_outage_s", "timing", "rollback_verified", "rules")
"""Of a run's result.json, what a summary has as well."""


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in FACTS if key in result}

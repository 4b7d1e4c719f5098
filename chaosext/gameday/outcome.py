"""A game day's outcome: a line of gamedays.jsonl, the webhook's JSON, the text of an Event. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SCHEMA = "chaosext.gameday/v1"

SAID = 3
"""Maximum number of reasons in a headline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A game day's outcome. `run` is "" if none began.

    `cleaned_up`: what earlier runs had left and was removed, or had expired. `facts`: the part of the run's
    result for a summary (`FACTS`). `problems`: failures to announce, send or keep the outcome.
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
        """Return the verdict with its exit code and the first reasons, in one line."""
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
"""Fields of a run's result.json that a summary includes."""


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in FACTS if key in result}

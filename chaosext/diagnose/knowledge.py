"""The knowledge base: what a rule is, and all rules, one module each in `chaosext.diagnose.rules`.

To add a rule, add a module with a `RULE`; nothing else needs to change.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.network.routes import EvidenceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from chaosext.diagnose.cluster_sight import ClusterSight
    from chaosext.diagnose.symptoms import Symptom, SymptomKind, Trouble

RULES = "chaosext.diagnose.rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixCommand:
    """A command that fixes a cause, and its risk. `command` is ready to be pasted; "" if people must act elsewhere."""

    what: str
    command: str = ""
    risk: str = ""

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "command": self.command, "risk": self.risk}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A cause that a rule has found.

    - `subject`: the object in question; `said`: what is wrong with it, in a sentence without its full stop.
    - `grounds`: the symptoms that it was inferred from. A cause that explains all of them lies deeper.
    - `explains`: the symptoms that it leads to.
    - `because`: symptoms behind it; whatever explains one of them lies deeper.
    - `is_link`: it says how one thing led to another. Without a deeper cause it explains nothing.
    - `history`: how it came about, the oldest first.
    """

    subject: str
    said: str
    grounds: frozenset[str]
    explains: frozenset[str] = frozenset()
    because: frozenset[str] = frozenset()
    since: datetime | None = None
    evidence: tuple[str, ...] = ()
    fixes: tuple[FixCommand, ...] = ()
    is_link: bool = False
    history: tuple[tuple[datetime | None, str], ...] = ()
    rule: str = ""

    @property
    def accounts_for(self) -> frozenset[str]:
        """All symptoms that are settled by it."""
        return self.grounds | self.explains

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "subject": self.subject,
            "said": self.said,
            "since": self.since.isoformat() if self.since else None,
            "evidence": list(self.evidence),
            "explains": sorted(self.accounts_for),
            "history": [{"at": at.isoformat() if at else None, "said": said} for at, said in self.history],
            "fixes": [each.to_json() for each in self.fixes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A rule could not tell whether its cause is there. `why`: what was not seen, or would settle it."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What rules look at: the sight of a cluster, and its symptoms."""

    sight: ClusterSight
    symptoms: tuple[Symptom, ...]

    def of(self, *kinds: SymptomKind, node: str | None = None) -> tuple[Symptom, ...]:
        """Return the symptoms of these kinds, of one node only if it is given."""
        return tuple(
            each for each in self.symptoms if each.kind in kinds and (node is None or each.node == node)
        )

    def troubled(self, *troubles: Trouble) -> tuple[Symptom, ...]:
        """Return the workloads and Services whose Pods have these troubles and no others."""
        return tuple(each for each in self.symptoms if each.troubles and each.troubles <= frozenset(troubles))

    @property
    def kubectl(self) -> str:
        """`kubectl` for this cluster."""
        return f"kubectl --context {self.sight.context}" if self.sight.context else "kubectl"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisRule:
    """A rule. `source`: the documents it rests on; `seen`: whether it was also seen on a real cluster."""

    name: str
    title: str
    source: str
    find: Callable[[Patient], Iterable[Cause | Unsettled]]
    seen: EvidenceKind = EvidenceKind.DOCUMENTS


def keys(symptoms: Iterable[Symptom]) -> frozenset[str]:
    """Return the keys of symptoms."""
    return frozenset(each.key for each in symptoms)


@cache
def all_rules() -> tuple[DiagnosisRule, ...]:
    """Return the rule of every module in `chaosext.diagnose.rules`, by name."""
    return tuple(_loaded())


def _loaded() -> Iterator[DiagnosisRule]:
    package = importlib.import_module(RULES)
    for each in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        rule = importlib.import_module(f"{RULES}.{each}").RULE
        assert isinstance(rule, DiagnosisRule)  # noqa: S101  a mistake in the rule's module
        yield rule

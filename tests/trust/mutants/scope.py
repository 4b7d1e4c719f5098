"""What is mutated, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass

from tests.trust.row import Effort


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Files of the product, and the tests (files, directories) that are run against each change of them."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def __add__(self, other: Scope) -> Scope:
        return Scope(sources=self.sources + other.sources, tests=self.tests + other.tests)


VERDICT = Scope(sources=("chaosext/run/verdict/derive.py",), tests=("tests/unit/run/verdict/test_derive.py",))
VERDICT_FACTS = Scope(
    sources=("chaosext/run/verdict/facts.py",),
    tests=tuple(
        f"tests/unit/run/verdict/test_{name}.py" for name in ("facts", "criteria", "foreign_changes")
    ),
)
PARTITION = Scope(
    sources=tuple(
        f"chaosext/partition/{name}.py"
        for name in ("apply", "cut", "node_lock", "lock_table", "nft", "reports", "scripts")
    ),
    tests=("tests/unit/partition",),
)
SAFETY = Scope(
    sources=tuple(f"chaosext/safety/{name}.py" for name in ("intent", "limits", "cluster_lock", "pins")),
    tests=(
        "tests/unit/safety",
        "tests/unit/experiment/test_operator_limits.py",  # the hours of a limits file
        "tests/unit/run/rollback/test_cluster_drain.py",  # changes at a load balancer
    ),
)
CUT_EFFECTIVE = Scope(
    sources=("chaosext/checks/cut_effective.py",),
    tests=("tests/unit/checks/test_tcp_reachability_and_cut_effective.py",),
)
FAULT = Scope(
    sources=tuple(f"chaosext/run/fault/{name}.py" for name in ("inject", "heal", "verify")),
    tests=tuple(f"tests/unit/run/fault/test_{name}.py" for name in ("inject", "inject_and_heal", "verify")),
)

SCOPES = {
    Effort.FAST: VERDICT,
    Effort.FULL: VERDICT + VERDICT_FACTS + PARTITION + SAFETY + CUT_EFFECTIVE + FAULT,
}

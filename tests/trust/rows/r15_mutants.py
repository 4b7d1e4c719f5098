"""Row 15: mutation testing of what arms, undoes, verifies and judges; what survives is listed and argued."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.trust.mutants.mutmut import mutants
from tests.trust.mutants.scope import SCOPES
from tests.trust.mutants.survivors import argued, differences
from tests.trust.row import Effort, Ground, Measured, Row

LIMIT_S = 1200.0


def measure(effort: Effort) -> Measured:
    """The copy that is mutated is never the checkout."""
    scope = SCOPES[effort]
    with tempfile.TemporaryDirectory() as folder:
        tried = mutants(scope, Path(folder), children=os.cpu_count() or 1, limit_s=LIMIT_S)
    noticed, by_type = sum(mutant.noticed for mutant in tried), sum(mutant.by_type for mutant in tried)
    return Measured(
        trials=len(tried),
        worst=f"{noticed} of {len(tried)} noticed ({by_type} by mypy), {len(tried) - noticed} survive",
        failures=tuple(differences(tried, argued(), scope.sources)),
    )


ROW = Row(
    number=15,
    title="mutation testing of arm, undo, verify and verdict code",
    bar="no surviving mutant that matters; the survivors are listed and argued",
    measures=((Ground.HERE, measure),),
)

"""A taste of each row of the trust table; the whole of it is `make trust`."""

from __future__ import annotations

import pytest

from tests.trust.row import Effort, Ground, NotHere, Row
from tests.trust.table import grounds, rows

PARTS = [
    pytest.param(row, ground, part, id=f"row {row.number} {ground.value}")
    for row in rows()
    for ground, part in row.measures
    if ground in (Ground.HERE, Ground.KERNEL)
]


@pytest.mark.netns
@pytest.mark.parametrize(("row", "ground", "part"), PARTS)
def test_holds(row: Row, ground: Ground, part: object) -> None:
    if reason := grounds()[ground]:
        pytest.skip(reason)
    assert callable(part)
    try:
        measured = part(Effort.FAST)
    except NotHere as reason:
        pytest.skip(str(reason))
    assert measured.holds, "\n".join([row.bar, *measured.failures, *measured.residue])

"""A taste of each row of the trust table; the whole of it is `make trust`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.trust.lanes import Part, Tried, lanes, play
from tests.trust.row import Effort, Ground
from tests.trust.table import grounds, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = {
    Part(row.number, index): ground
    for row in rows()
    for index, (ground, _) in enumerate(row.measures)
    if ground in (Ground.HERE, Ground.KERNEL)
}


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Mapping[Part, Tried]:
    """All parts that were asked for, tried side by side."""
    here = grounds()
    asked = {item.callspec.params["part"] for item in request.session.items if item.module is request.module}
    ready = [(part, ground) for part, ground in PARTS.items() if part in asked and not here[ground]]
    missing = {part: Tried(part=part, missing=here[ground]) for part, ground in PARTS.items() if here[ground]}
    return missing | {each.part: each for each in play(lanes(ready, Effort.FAST), Effort.FAST)}


@pytest.mark.netns
@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"row {part}")
def test_holds(tried: Mapping[Part, Tried], part: Part) -> None:
    found = tried[part]
    if found.missing:
        pytest.skip(found.missing)
    assert found.measured.holds, "\n".join([*found.measured.failures, *found.measured.residue])

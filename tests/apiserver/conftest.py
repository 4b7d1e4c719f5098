"""One API server for all tests here, as starting it takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from admission_bed import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admission_bed import Bed


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with running(tmp_path_factory.mktemp("apiserver")) as made:
        yield made

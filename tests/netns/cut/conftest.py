from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from .lab import Lab, Namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

_tags = (str(number) for number in itertools.count())


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    missing = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
    return f"needs {', '.join(missing)} (Debian: iproute2, nftables)" if missing else ""


@pytest.fixture(scope="session")
def kernel() -> None:
    if reason := _why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def wired(kernel: None) -> Iterator[Lab]:
    lab = Lab(next(_tags))
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def lab(wired: Lab) -> Iterator[Lab]:
    """A lab without any rules, before and after."""
    yield wired
    wired.clear()


@pytest.fixture
def nodes(kernel: None) -> Iterator[Namespaces]:
    """Three bare nodes, to see what happens when one of them is in trouble."""
    namespaces = Namespaces(next(_tags))
    try:
        namespaces.make("n0", "n1", "n2")
        yield namespaces
    finally:
        namespaces.remove()

"""The pictures of the documentation: small, each of them shown somewhere, and made by one script."""

from __future__ import annotations

import pytest
from checkout import ROOT

from hack.report_picture import MOST_BYTES, SIZES

IMAGES = ROOT / "docs" / "images"


@pytest.mark.parametrize("name", SIZES)
def test_a_picture_is_small_and_shown(name: str) -> None:
    assert 10_000 < (IMAGES / name).stat().st_size <= MOST_BYTES
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    assert any(f"images/{name})" in page.read_text(encoding="utf-8") for page in pages)


def test_no_picture_is_forgotten() -> None:
    assert {path.name for path in IMAGES.glob("*.png")} == set(SIZES)

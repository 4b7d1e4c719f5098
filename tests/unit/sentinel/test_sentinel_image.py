"""The sentinel's image: named after its sources, which are all that a sentinel needs beside Python."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import chaosext
from chaosext.sentinel import sentinel_image

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_other_sources_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sentinel_image.image_name()
    assert before == sentinel_image.image_name()
    assert before.startswith(f"chaosext.local/sentinel:{chaosext.__version__}-")

    changed = {**sentinel_image.sources(), "chaosext/sentinel/more.py": ""}
    monkeypatch.setattr(sentinel_image, "sources", lambda: changed)
    assert sentinel_image.image_name() != before


def test_the_sources_need_nothing_but_the_standard_library(tmp_path: Path) -> None:
    for path, text in sentinel_image.sources().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    names = [
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in sentinel_image.sources()
        if path.startswith("chaosext/sentinel/")
        and not path.endswith("__main__.py")  # importing it starts it
    ]
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + "".join(
        f"import {each}\n" for each in names
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert done.returncode == 0

"""The sentinel's image: this package's own sources over a Python that was built or pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.sentinel.image import ENTRYPOINT, HOME, image_name, sources
from chaosext.testbed.archive import SEARCH_PATH, Component, Entry

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.archive import Image


def sentinel_image(python: Path) -> Image:
    """The image over the tree `python` (a tar file), in which `python3` is on the search path.

    It is not part of the node image: another line of a sentinel's source costs seconds, not a node image.
    """
    files = (Entry(path=f"{HOME}/{path}", text=text, mode=0o644) for path, text in sources().items())
    environment = [SEARCH_PATH, f"PYTHONPATH=/{HOME}", "PYTHONDONTWRITEBYTECODE=1"]
    config = {"Env": environment, "Entrypoint": list(ENTRYPOINT)}
    return Component(names=(image_name(),), base=python, entries=tuple(files), config=config).image()

"""Official images, pulled by tag from their registries or from one that mirrors them under the same paths."""

from __future__ import annotations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaosext.testbed.images.imageset import ImageSet
    from chaosext.testbed.progress import Progress


def registry_answers(registry: str | None) -> bool:
    return False


def pull_images(progress: Progress, *, registry: str | None) -> ImageSet:
    raise NotImplementedError

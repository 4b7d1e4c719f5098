"""All of `chaosext testbed up`: the engine, the images, the cluster; and a second one, with an entry before both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chaosext.model.errors import Refused
from chaosext.testbed import cluster, pair
from chaosext.testbed.engine import ensure_engine

if TYPE_CHECKING:
    from chaosext.testbed.config import Blueprint
    from chaosext.testbed.pair import PairStatus
    from chaosext.testbed.progress import Progress
    from chaosext.testbed.status import BedStatus

IMAGE_MODES: tuple[Literal["auto", "registry", "source"], ...] = ("auto", "registry", "source")


def bring_up(
    blueprint: Blueprint,
    progress: Progress,
    *,
    second: Blueprint | None = None,
    images: str = "auto",
    registry: str | None = None,
    may_install_engine: bool = True,
) -> BedStatus | PairStatus:
    """Bring the testbed to its steady state, with a `second` cluster one after the other, and an entry before both.

    `registry` is a mirror, HOST:PORT. Raises `ChaosextError`s.
    """
    from chaosext.testbed.images import ensure_images

    mode = next((each for each in IMAGE_MODES if each == images), None)
    if mode is None:
        raise Refused(f"images {images!r} is unknown", f"use one of: {', '.join(IMAGE_MODES)}")
    ensure_engine(progress, may_install=may_install_engine)
    image_set = ensure_images(mode, progress, registry=registry)
    found = cluster.up(blueprint, image_set, progress)
    if second is None:
        return found
    other = cluster.up(second, image_set, progress)
    return pair.PairStatus(first=found, second=other, entry=pair.join(blueprint.name, progress))

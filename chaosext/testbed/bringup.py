"""All of `chaosext testbed up`: the engine, the images, then the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chaosext.model.errors import Refused
from chaosext.testbed import cluster
from chaosext.testbed.engine import ensure_engine

if TYPE_CHECKING:
    from chaosext.testbed.config import Blueprint
    from chaosext.testbed.progress import Progress
    from chaosext.testbed.status import BedStatus

IMAGE_MODES: tuple[Literal["auto", "registry", "source"], ...] = ("auto", "registry", "source")


def bring_up(
    blueprint: Blueprint,
    progress: Progress,
    *,
    images: str = "auto",
    registry: str | None = None,
    may_install_engine: bool = True,
) -> BedStatus:
    """Bring the testbed to its steady state. `registry` is a mirror, HOST:PORT. Raises `ChaosextError`s."""
    from chaosext.testbed.images import ensure_images

    mode = next((each for each in IMAGE_MODES if each == images), None)
    if mode is None:
        raise Refused(f"images {images!r} is unknown", f"use one of: {', '.join(IMAGE_MODES)}")
    ensure_engine(progress, may_install=may_install_engine)
    return cluster.up(blueprint, ensure_images(mode, progress, registry=registry), progress)

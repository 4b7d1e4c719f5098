"""Images of the testbed: pulled from a registry or built from source; `ensure_images` hands out an `ImageSet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chaosext.testbed.images.imageset import ImageSet

if TYPE_CHECKING:
    from chaosext.testbed.progress import Progress

__all__ = ["ImageSet", "ensure_images"]

Mode = Literal["auto", "registry", "source"]


def ensure_images(mode: Mode, progress: Progress, *, registry: str | None = None) -> ImageSet:
    """Have every image, command and manifest that the testbed needs on this machine.

    `mode` "source" builds from the Go module proxy, PyPI and Debian's packages; "registry" pulls the official images
    (`registry` as `HOST:PORT` stands in for all of their registries); "auto" takes the registry when it answers
    within seconds, else source. Kept in the user's cache, so that a second call takes a second or two.

    Raises `Refused` when something is missing that can't be had, and `CommandFailed` when a build or a pull fails.
    """
    from chaosext.testbed.images.pulled import pull_images, registry_answers
    from chaosext.testbed.images.sourced import build_images

    if mode == "registry" or (mode == "auto" and registry_answers(registry)):
        return pull_images(progress, registry=registry)
    return build_images(progress)

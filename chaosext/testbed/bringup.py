"""All of `chaosext testbed up`: images, cluster, and optionally a second cluster and a load balancer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.testbed import bundle, lifecycle, pair
from chaosext.testbed.bed_choices import PodNetwork
from chaosext.testbed.bed_lock import locked
from chaosext.testbed.cache import writable_cache
from chaosext.testbed.containers import require_engine
from chaosext.testbed.kubernetes_releases import DEFAULT_KUBERNETES, release_of
from chaosext.testbed.node_images import load_bundle
from chaosext.testbed.registry import pull_images, registry_answers

if TYPE_CHECKING:
    from chaosext.testbed.bundle import Bundle
    from chaosext.testbed.config import Blueprint
    from chaosext.testbed.health import BedStatus
    from chaosext.testbed.node_images import ImageSet
    from chaosext.testbed.pair import PairStatus
    from chaosext.testbed.stage_progress import Progress

AUTO, REGISTRY = "auto", "registry"


def bring_up(
    blueprint: Blueprint,
    progress: Progress,
    *,
    second: Blueprint | None = None,
    images: str = AUTO,
    registry: str | None = None,
    kubernetes: str | None = None,
) -> BedStatus | PairStatus:
    """Bring the testbed to its steady state.

    A `second` cluster follows, with a load balancer in front of both. See `ensure_images` for `images`, `registry`
    and `kubernetes`. Raises a `ChaosextError` if a step fails.
    """
    image_set = ensure_images(
        images, progress, registry=registry, kubernetes=kubernetes, network=blueprint.options.network
    )
    found = lifecycle.up(blueprint, image_set, progress)
    if second is None:
        return found
    other = lifecycle.up(second, image_set, progress)
    return pair.PairStatus(first=found, second=other, entry=pair.join(blueprint.name, image_set, progress))


def ensure_images(
    images: str,
    progress: Progress,
    *,
    registry: str | None = None,
    kubernetes: str | None = None,
    network: PodNetwork = PodNetwork.CALICO_BGP,
) -> ImageSet:
    """Ensure that every image, command and manifest that the testbed needs is on this machine.

    `images` is one of:

    - "registry": pull the official images. `registry` (`HOST:PORT`) replaces all of their registries.
    - "auto": the same if the registry answers within seconds, otherwise the newest image bundle in the user's
      cache.
    - the path of an image bundle.

    `kubernetes` is a minor version ("1.33") or a patch release ("v1.33.13"); None for that of the bundle at a given
    path, else `DEFAULT_KUBERNETES`.

    A repeated call takes one or two seconds.

    Raises:
        Refused: before anything is changed: the bundle is damaged, does not fit or is missing, no engine answers,
            or the version of Kubernetes is not supported.
        CommandFailed: an image can't be pulled or loaded.
        ChaosextError: the cache is full or read-only.
    """
    if kubernetes is not None:
        release_of(kubernetes)
    with writable_cache():
        return _ensure_images(images, progress, registry, kubernetes, network)


def _ensure_images(
    images: str, progress: Progress, registry: str | None, kubernetes: str | None, network: PodNetwork
) -> ImageSet:
    given = None if images in (AUTO, REGISTRY) else bundle.open_bundle(Path(images), progress, kubernetes)
    if given and registry and given.manifest.profile == "full":
        raise Refused(f"--registry is not used, because {images} contains all images", "remove one of them")
    require_engine()
    version = kubernetes or DEFAULT_KUBERNETES
    with locked("images", lambda: progress.line("Waiting for another `up` to load its images")):
        if given and given.manifest.profile == "full":
            return load_bundle(given, progress)
        if images != AUTO or registry_answers(registry):
            tools = given or _kept_tools(progress)
            return pull_images(tools, progress, registry=registry, kubernetes=version, network=network)
        return load_bundle(_kept_bundle(progress, version), progress)


def _kept_tools(progress: Progress) -> Bundle:
    try:
        found = bundle.newest_bundle(full=False)
    except Refused as error:
        why = f"kind, Helm, manifests and charts are not in a registry, and {error.message}"
        raise Refused(why, error.fix) from error
    bundle.check_content(found, progress)
    return found


def _kept_bundle(progress: Progress, kubernetes: str) -> Bundle:
    try:
        found = bundle.newest_bundle(full=True, kubernetes=kubernetes)
    except Refused as error:
        raise Refused(f"no image registry answers, and {error.message}", error.fix) from error
    progress.line(f"No image registry answers: images come from {found.label}")
    bundle.check_content(found, progress)
    return found

"""`python -m hack.images`: build image bundles, and list those in the cache."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.main import invoke
from chaosext.model.errors import Refused
from chaosext.testbed.bundle import kept_bundles, misfits, newest_bundle, read_bundle
from chaosext.testbed.containers import require_engine
from chaosext.testbed.kubernetes_releases import DEFAULT_KUBERNETES, version_to_build
from chaosext.testbed.registry import registry_answers
from chaosext.testbed.stage_progress import Progress
from hack.images.builder import build_bundle, export_bundle, refuse_output

if TYPE_CHECKING:
    from chaosext.testbed.bundle import Profile


@click.group()
def images() -> None:
    """Build the image bundles that `chaosext testbed up` takes where no registry answers."""


@images.command()
@click.option(
    "--profile",
    type=click.Choice(["full", "tools", "auto"]),
    default="full",
    show_default=True,
    help="full: all images and tools. tools: what is needed beside a registry's images. auto: what `testbed up` needs, "
    "tools where the Docker Engine's registry answers, else full.",
)
@click.option(
    "--kubernetes",
    metavar="VERSION",
    default=DEFAULT_KUBERNETES,
    show_default=True,
    help="The version that the images run: a minor version, or a patch release such as v1.33.13.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Copy the bundle there as well: a directory, or a tar file where PATH ends in .tar.",
)
def build(profile: str, kubernetes: str, output: Path | None) -> None:
    """Build a bundle from source, unless it is in the cache already, and print its path.

    The first one takes an hour on two cores, needs Go (fetched on Debian) and, for images, root on Debian or Ubuntu.
    """
    progress = Progress()
    version = version_to_build(kubernetes)
    if output is not None:
        refuse_output(output)
    path = (
        _needed(progress, version)
        if profile == "auto"
        else build_bundle("full" if profile == "full" else "tools", progress, kubernetes=version)
    )
    if output is not None:
        with progress.stage(f"Copy the bundle to {output}"):
            export_bundle(read_bundle(path), output)
    click.echo(str(output or path))


@images.command(name="list")
def list_bundles() -> None:
    """List the bundles in the cache, newest first: profile, Kubernetes, size, when built or last asked for, whether
    they fit.
    """
    for path in kept_bundles():
        click.echo(_line(path))


def _needed(progress: Progress, kubernetes: str) -> Path:
    """The bundle that `testbed up` needs; where none can be built, one that is there and fits will do."""
    require_engine()
    profile: Profile = "tools" if registry_answers(None) else "full"
    try:
        return build_bundle(profile, progress, kubernetes=kubernetes)
    except Refused as error:
        with suppress(Refused):
            found = newest_bundle(full=profile == "full", kubernetes=kubernetes).path
            progress.line(f"{error.message}: taking {found}")
            return found
        raise


def _line(path: Path) -> str:
    try:
        manifest = read_bundle(path).manifest
    except Refused as error:
        return f"{path}  unreadable: {error.message}"
    size_mib = sum(each.bytes for each in manifest.files.values()) / 2**20
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
    fits = "; ".join(misfits(manifest)) or "fits"
    return (
        f"{path}  {manifest.profile:<5}  {manifest.kubernetes or '-':<8}  {size_mib:6.0f} MiB  {when}  {fits}"
    )


if __name__ == "__main__":
    sys.exit(invoke(None, images, name="python -m hack.images"))

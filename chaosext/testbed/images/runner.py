"""The image of runner and node Pods: this package over its libraries, over a Debian with the tools that nodes need."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from chaosext.nodes.image import (
    HOME,
    TOOLS,
    USER,
    libraries_lock,
    runner_image,
    shell_image,
    shipped,
    sources,
)
from chaosext.testbed import versions
from chaosext.testbed.archive import SEARCH_PATH, Component, Entry
from chaosext.testbed.cache import kept
from chaosext.testbed.commands import run_command
from chaosext.testbed.images.pip import pip
from chaosext.testbed.images.rootfs import RootFs

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.archive import Image

PACKAGES = (*TOOLS, "ca-certificates", "python3")
LIBC = ("manylinux2014", "manylinux_2_28")  # wheels for what bookworm's glibc 2.36 runs
DOWNLOAD_TIMEOUT_S = 600.0
COMMAND = """#!/bin/sh
exec python3 -c "from chaosext.cli.main import main; main()" "$@"
"""

# Compiled here, as the file system of a Pod is read-only; what Debian's Python has is compiled by Debian. Nobody calls
# Perl, which comes with usrmerge, nor the twin of the Kubernetes client for asyncio: a third of the size.
SETUP = """
mkdir -p "$1/{home}"
cp -r {libraries}/. "$1/{home}"
rm -rf "$1/{home}/kubernetes/aio"
chroot "$1" python3 -m compileall -q --invalidation-mode unchecked-hash /{home}
rm -rf "$1"/usr/share/perl "$1"/usr/lib/*/perl "$1"/usr/lib/*/libperl.so* "$1"/usr/lib/*/gconv
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/*
"""


def runner_over(base: Path) -> Image:
    """The image over the tree `base` (a tar file), which has the tools, a Python and the libraries."""
    package = [Entry(path=f"{HOME}/{path}", text=text, mode=0o644) for path, text in sources().items()]
    command = Entry(path="usr/local/bin/chaosext", text=COMMAND)
    config = {
        "Env": [SEARCH_PATH, f"PYTHONPATH=/{HOME}", "PYTHONDONTWRITEBYTECODE=1"],
        "User": f"{USER}:{USER}",
        "Entrypoint": ["chaosext"],
    }
    names = (runner_image(), shell_image())
    return Component(names=names, base=base, entries=(*package, command), config=config).image()


def runner_tree() -> RootFs:
    """Debian with `PACKAGES`, and the libraries of requirements.lock in `HOME`. Raises `CommandFailed`."""
    libraries = kept("libraries", [libraries_lock(), versions.ARCHITECTURE], _download)
    setup = SETUP.format(libraries=shlex.quote(str(libraries)), home=HOME)
    return RootFs(name="runner", packages=PACKAGES, setup=setup)


def _download(target: Path) -> None:
    """The libraries' wheels, unpacked: those of the tree's Python, whichever runs this."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(versions.ARCHITECTURE, versions.ARCHITECTURE)
    argv: list[str | Path] = [
        *pip("The runner's libraries come"), "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes",
        "--only-binary=:all:", "--implementation=cp", "--python-version=3.11",
        *(f"--platform={libc}_{machine}" for libc in LIBC),
        "--target", target, "--requirement", shipped("requirements.lock"),
    ]  # fmt: skip
    run_command(argv, timeout_s=DOWNLOAD_TIMEOUT_S)

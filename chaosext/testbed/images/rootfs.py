"""Small Debian trees as tar files, to stand images on: no base image has to be pulled."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.testbed.cache import is_kept, kept, log_file
from chaosext.testbed.commands import CommandFailed, run_command
from chaosext.testbed.engine import install_packages, is_debian

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.progress import Progress

SUITE = "bookworm"  # the last Debian with BIRD 1.6, whose configuration Calico's templates are written in
ARCHIVES = (("Debian", SUITE), ("Debian-Security", f"{SUITE}-security"))
"""Debian's archives by the `Label` of their Release files, which mirrors carry unchanged, and what we take there."""

APT_TIMEOUT_S = 300.0
BUILD_TIMEOUT_S = 1200.0
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")
LICENCES = "/usr/share/doc/*/copyright"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFs:
    """A Debian tree: `packages` over the minimal set, then `setup`, a shell script with the tree's path as $1.

    A `bare` one is `packages` and what they depend on alone, unpacked: their own scripts are not run.
    """

    name: str
    packages: tuple[str, ...]
    setup: str = ""
    bare: bool = False

    @property
    def inputs(self) -> object:
        """Everything that decides what comes out, but for Debian's own point releases."""
        return [debian_sources(), self.packages, self.setup, LEFT_OUT, *(["bare"] if self.bare else [])]


@cache
def debian_sources() -> tuple[str, ...]:
    """Sources of our suite, in apt's one-line style, at the mirrors that this machine's own apt uses.

    () where it uses none of Debian's, as on Ubuntu: mmdebstrap then has its own default.
    """
    if shutil.which("apt-get") is None:
        return ()
    listed = _listed_archives()
    if not listed and os.geteuid() == 0:  # apt tells only what it has downloaded lists of
        with suppress(CommandFailed):
            run_command(["apt-get", "update", "-qq"], timeout_s=APT_TIMEOUT_S)
        listed = _listed_archives()
    return sources_at(listed)


def _listed_archives() -> str:
    columns = "$(LABEL)|$(COMPONENT)|$(REPO_URI)"
    argv = ["apt-get", "indextargets", "--format", columns, "Created-By: Packages"]
    return run_command(argv, timeout_s=APT_TIMEOUT_S).stdout


def sources_at(listed: str) -> tuple[str, ...]:
    """Sources at the first mirror of each archive in lines of `LABEL|COMPONENT|URI`. Pure."""
    mirrors: dict[str, str] = {}
    for line in listed.splitlines():
        label, component, uri = line.split("|", 2)
        if component == "main":
            mirrors.setdefault(label, uri.rstrip("/"))
    return tuple(f"deb {mirrors[label]} {suite} main" for label, suite in ARCHIVES if label in mirrors)


def ensure_rootfs(rootfs: RootFs, progress: Progress) -> Path:
    """The tar file of `rootfs`, made now unless it is kept from before.

    Raises `Refused` when not root or not on Debian, `CommandFailed` when a package can't be had.
    """
    name = f"rootfs-{rootfs.name}"
    if not is_kept(name, rootfs.inputs):
        refuse_unless_buildable()
        with progress.stage(f"Assemble the {rootfs.name} tree from Debian's packages"):
            kept(name, rootfs.inputs, lambda target: _assemble(rootfs, target))
    return kept(name, rootfs.inputs, lambda _: None) / "rootfs.tar"


def refuse_unless_buildable() -> None:
    """Raise `Refused` unless Debian trees can be made here, installing mmdebstrap when that is all there is to do."""
    fix = "run this as root on Debian or Ubuntu, or use `--images registry`"
    if os.geteuid() != 0:
        raise Refused("building images from source needs root", fix)
    if shutil.which("mmdebstrap"):
        return
    if not is_debian():
        raise Refused("building images from source needs mmdebstrap and Debian's packages", fix)
    install_packages(("mmdebstrap", "debian-archive-keyring"))


def _assemble(rootfs: RootFs, target: Path) -> None:
    script = target / "setup.sh"
    script.write_text(f'set -eu\numask 022\n{rootfs.setup}\nrm -f "$1/etc/resolv.conf" "$1/etc/hostname"\n')
    options = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    variant, hook = ("extract", "extract") if rootfs.bare else ("minbase", "customize")
    argv: list[str | Path] = [
        "mmdebstrap", "--mode=root", f"--variant={variant}", "--format=tar", *options,
        f"--dpkgopt=path-include={LICENCES}", "--dpkgopt=force-unsafe-io",
        '--aptopt=APT::Install-Recommends "false"', f"--include={','.join(rootfs.packages)}",
        f'--{hook}-hook=sh {script} "$1"', SUITE, target / "rootfs.tar", *debian_sources(),
    ]  # fmt: skip
    # Its working directory inside ours: what an interrupted run leaves goes with the next attempt.
    log = log_file(f"rootfs-{rootfs.name}")
    run_command(argv, timeout_s=BUILD_TIMEOUT_S, env={"TMPDIR": str(target)}, log=log)
    script.unlink()

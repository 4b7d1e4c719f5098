"""Debian's packages on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.testbed.commands import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

APT_TIMEOUT_S = 900.0


def is_debian(os_release: Path = Path("/etc/os-release")) -> bool:
    """Whether `os_release` describes Debian or a descendant of it that has apt-get."""
    if not os_release.is_file() or shutil.which("apt-get") is None:
        return False
    fields = dict(line.split("=", 1) for line in os_release.read_text().splitlines() if "=" in line)
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return not {"debian", "ubuntu"}.isdisjoint(names)


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian `packages` without questions. Raises `CommandFailed` when apt-get fails."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run_command(["apt-get", "update", "-qq"], timeout_s=APT_TIMEOUT_S, env=quiet)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    run_command(install, timeout_s=APT_TIMEOUT_S, env=quiet)

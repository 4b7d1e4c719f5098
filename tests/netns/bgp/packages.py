"""BIRD and FRR from Debian's packages, unpacked into the user's cache: nothing is installed, no service starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError
from chaosext.testbed.cache import kept

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PACKAGES = ("bird", "frr", "libyang2", "libjson-c5", "libcap2", "libpcre2-8-0")
"""Both programs, and the libraries that FRR needs beside Debian's base system."""

BIRD_VERSION = "1.6.8"
"""The version that Calico's BIRD is built from."""

TIMEOUT_S = 120.0


class Unavailable(Exception):
    """The programs can't be had on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Programs:
    tree: Path

    @property
    def bird(self) -> str:
        return str(self.tree / "usr/sbin/bird")

    def frr(self, daemon: str) -> str:
        return str(self.tree / "usr/lib/frr" / daemon)

    @property
    def modules(self) -> str:
        return str(self._libraries[0] / "modules")

    @property
    def environment(self) -> Mapping[str, str]:
        """Where the dynamic linker finds the libraries."""
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, self._libraries))}

    @property
    def _libraries(self) -> tuple[Path, ...]:
        (frr,) = self.tree.glob("usr/lib/*/frr")
        triplet = frr.parent.name
        return frr, self.tree / "usr/lib" / triplet, self.tree / "lib" / triplet


def programs() -> Programs:
    """Return the programs, from the cache if possible. Raises `Unavailable`."""
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]:
        raise Unavailable(f"needs {' and '.join(missing)}, to get BIRD and FRR from Debian's packages")
    try:
        versions = _candidates() or _candidates(update=True)
        if not versions:
            raise Unavailable(
                f"apt does not know {', '.join(PACKAGES)}; a Debian with BIRD {BIRD_VERSION} does"
            )
        if BIRD_VERSION not in versions["bird"]:
            raise Unavailable(f"apt has BIRD {versions['bird']}; Calico's is {BIRD_VERSION}")
        return Programs(kept("bgp-lab", versions, lambda target: _unpack(target, versions)))
    except (subprocess.SubprocessError, OSError, ChaosextError) as error:
        raise Unavailable(f"Debian's packages could not be downloaded: {error}") from error


def _candidates(*, update: bool = False) -> dict[str, str]:
    """Return each package's version that apt would install; {} unless it knows all of them."""
    if update:
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True, timeout=TIMEOUT_S)
    argv = ["apt-cache", "show", "--no-all-versions", *PACKAGES]
    shown = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    found: dict[str, str] = {}
    for paragraph in shown.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        if "Package" in fields:
            found[fields["Package"]] = fields["Version"]
    return found if set(found) == set(PACKAGES) else {}


def _unpack(target: Path, versions: Mapping[str, str]) -> None:
    wanted = [f"{name}={version}" for name, version in versions.items()]
    subprocess.run(
        ["apt-get", "download", "-qq", *wanted],
        cwd=target,
        check=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    for package in target.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, target], check=True, timeout=TIMEOUT_S)
        package.unlink()

"""The image shared by the runner and node Pods: its content, and the names derived from that.

The code that loads the image onto the testbed's nodes and the code that starts its Pods read the same
sources, and so derive the same name.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import chaosext

if TYPE_CHECKING:
    from collections.abc import Mapping

REGISTRY = "chaosext.local"
"""Not a real registry: a node that lacks the image cannot pull a different one under its name."""

HOME = "opt/chaosext"
"""Directory in the image with `chaosext` and its libraries; `PYTHONPATH` points to it."""

USER = 65532
"""User ID of a runner, unless its Pod sets another one. A node Pod runs as root with only NET_ADMIN."""

TOOLS = ("bash", "conntrack", "iproute2", "nftables", "socat")
"""Debian packages that scripts on a node need, beyond those in every Debian."""

DIGITS = 12


@cache
def sources() -> Mapping[str, str]:
    """All files of the package `chaosext` by their path under `HOME`, as they were at the first call.

    The examples of a wheel, which a checkout has beside the package, are left out.
    """
    package = Path(chaosext.__file__).parent
    inside = {path.relative_to(package.parent): path for path in package.rglob("*")}
    beside = {Path("chaosext/experiments", path.name): path for path in _experiments(package)}
    files = {
        str(name): path.read_text(encoding="utf-8")
        for name, path in sorted({**inside, **beside}.items())
        if path.is_file() and "__pycache__" not in path.parts and name.parts[1] != "examples"
    }
    return MappingProxyType(files)


def libraries_lock() -> str:
    """Read requirements.lock: the libraries with their versions and hashes."""
    return shipped("requirements.lock").read_text(encoding="utf-8")


def shipped(name: str) -> Path:
    """Find a file shipped with chaosext by its path in a checkout; a wheel has it in the package, by its file name."""
    package = Path(chaosext.__file__).parent
    inside = package / "testbed" / Path(name).name
    return inside if inside.exists() else package.parent / name


def base_key() -> str:
    """A digest of the image's base: the libraries and the tools."""
    return _digest([TOOLS, libraries_lock()])


def runner_image() -> str:
    """`chaosext.local/chaosext:<version>-<digest>`. The digest covers sources, libraries and tools."""
    content = [TOOLS, libraries_lock(), dict(sources())]
    return f"{REGISTRY}/chaosext:{chaosext.__version__}-{_digest(content)}"


def shell_image() -> str:
    """A second name of the same image, derived from the tools only: all that a shell on a node needs."""
    return f"{REGISTRY}/shell:{_digest(TOOLS)}"


def _experiments(package: Path) -> list[Path]:
    """The experiments of a checkout; in a wheel they are part of the package."""
    beside = package.parent / "experiments"
    return [] if (package / "experiments").exists() else sorted(beside.glob("*.yaml"))


def _digest(content: object) -> str:
    return sha256(repr(content).encode()).hexdigest()[:DIGITS]

"""The one image of runner and node Pods: what is in it, and its names, which follow from that.

Who brings it to the testbed's nodes and who starts Pods of it read the same sources, and so speak of the same image.
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
"""No registry serves it: what a node does not have can't be mistaken for something else."""

HOME = "opt/chaosext"
"""The directory in the image that holds `chaosext` and the libraries that it needs; `PYTHONPATH` names it."""

USER = 65532
"""Who a runner is, unless its Pod says otherwise; a node Pod is root, with NET_ADMIN alone."""

TOOLS = ("bash", "conntrack", "iproute2", "nftables", "socat")
"""Debian's packages that scripts on a node call, beyond what every Debian has."""

DIGITS = 12


@cache
def sources() -> Mapping[str, str]:
    """All files of the package `chaosext`, by their path under `HOME`; as they were when first asked for."""
    package = Path(chaosext.__file__).parent
    inside = {path.relative_to(package.parent): path for path in package.rglob("*")}
    beside = {Path("chaosext/experiments", path.name): path for path in _experiments(package)}
    files = {
        str(name): path.read_text(encoding="utf-8")
        for name, path in sorted({**inside, **beside}.items())
        if path.is_file() and "__pycache__" not in path.parts
    }
    return MappingProxyType(files)


def libraries_lock() -> str:
    """requirements.lock: the libraries, each at its version and with its hashes."""
    return shipped("requirements.lock").read_text(encoding="utf-8")


def shipped(name: str) -> Path:
    """A file that comes with chaosext, by its path in a checkout: in a wheel it is in the package, by its last name."""
    package = Path(chaosext.__file__).parent
    inside = package / "testbed" / Path(name).name
    return inside if inside.exists() else package.parent / name


def base_key() -> str:
    """A key of what the package stands on: the libraries and the tools."""
    return _digest([TOOLS, libraries_lock()])


def runner_image() -> str:
    """`chaosext.local/chaosext:<version>-<digest>`: other sources, libraries or tools, another name."""
    content = [TOOLS, libraries_lock(), dict(sources())]
    return f"{REGISTRY}/chaosext:{chaosext.__version__}-{_digest(content)}"


def shell_image() -> str:
    """Another name of the same image, which follows from the tools alone: all that a shell on a node needs."""
    return f"{REGISTRY}/shell:{_digest(TOOLS)}"


def _experiments(package: Path) -> list[Path]:
    """Those of a checkout: a wheel has them in the package."""
    beside = package.parent / "experiments"
    return [] if (package / "experiments").exists() else sorted(beside.glob("*.yaml"))


def _digest(content: object) -> str:
    return sha256(repr(content).encode()).hexdigest()[:DIGITS]

"""The sentinel's image: what of this package goes into it, and its name, which follows from that.

Who puts it on the nodes and who places it read the same sources here, and so speak of the same image.
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

REPOSITORY = "chaosext.local/sentinel"
"""No registry serves it: what a node does not have can't be mistaken for something else."""

ENTRYPOINT = ("python3", "-m", "chaosext.sentinel")
HOME = "opt/chaosext"
"""The directory in the image that holds the package `chaosext`; `PYTHONPATH` names it."""

PARTS = ("model", "sentinel")
"""The packages of chaosext that a sentinel is made of: they import each other and the standard library only."""

DIGITS = 12


@cache
def sources() -> Mapping[str, str]:
    """The Python files of the image, by their path under `HOME`; as they were when first asked for."""
    package = Path(chaosext.__file__).parent
    parts = sorted(path for part in PARTS for path in (package / part).rglob("*.py"))
    files = (package / "__init__.py", *parts)
    return MappingProxyType(
        {str(path.relative_to(package.parent)): path.read_text(encoding="utf-8") for path in files}
    )


def image_name() -> str:
    """`chaosext.local/sentinel:<version>-<digest>`: other sources, another name."""
    digest = sha256(repr(dict(sources())).encode()).hexdigest()[:DIGITS]
    return f"{REPOSITORY}:{chaosext.__version__}-{digest}"

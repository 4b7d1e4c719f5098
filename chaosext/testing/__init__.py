"""For tests of your own: the pytest plugin, and the types of what its fixtures return."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaosext.testing.finished_run import Run
    from chaosext.testing.plugin import Runner
    from chaosext.testing.session_testbed import Testbed

__all__ = ["Run", "Runner", "Testbed"]

_MODULES = {"Run": "finished_run", "Runner": "plugin", "Testbed": "session_testbed"}
"""Name -> the module that defines it."""


def __getattr__(name: str) -> Any:
    """Import `name` when it is first used: every pytest session loads this package, and few need it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

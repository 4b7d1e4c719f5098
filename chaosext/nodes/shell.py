"""A shell on a node that needs no API server: what every transport (docker, netns, later pod) offers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How one script ended on a node."""

    exit_code: int
    stdout: str
    stderr: str


class NodeShell(Protocol):
    """Runs bash scripts in a node's network namespace.

    `node` is the node's name as Kubernetes knows it (in tests: the namespace's name).
    """

    @property
    def node(self) -> str: ...

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        """Run `script` with bash, feeding `stdin`; a non-zero exit code is returned, not raised.

        Raises `Unreachable` when the node can't be entered or did not answer within `timeout_s`.
        """

    def stream(self, script: str) -> AbstractContextManager[Iterator[str]]:
        """Run a long `script` and yield its output lines as they come.

        The script's stdin stays open while the context lives and is closed when it is left (or its owner dies):
        a script must end on EOF of its stdin, so that nothing of ours outlives the runner.
        """

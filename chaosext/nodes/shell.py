"""A shell on a node: the interface of all transports (docker, netns, pod)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How a script ended on a node."""

    exit_code: int
    stdout: str
    stderr: str


class NodeStream(Iterator[str], Protocol):
    """The output lines of a running script (without line breaks), and its stdin.

    Iterating raises `Unreachable` if the node cannot be entered, or when the time limit is reached.
    """

    def send(self, text: str) -> None:
        """Send `text` to the script and close its stdin. Call this at most once."""


class NodeShell(Protocol):
    """Runs bash scripts in a node's network namespace.

    `node` is the node's name in Kubernetes (in tests: the namespace's name).
    """

    @property
    def node(self) -> str: ...

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        """Run `script` with bash, feeding it `stdin`; a non-zero exit code is returned, not raised.

        Raises `Unreachable` if the node cannot be entered or does not answer within `timeout_s`.
        """

    def stream(self, script: str, *, timeout_s: float | None = None) -> AbstractContextManager[NodeStream]:
        """Run a long `script` and yield its output lines as they come, for at most `timeout_s`.

        The script's stdin stays open inside the context, and is closed on leaving it or when the runner dies.
        A script must end on EOF of its stdin, so that it does not outlive the runner.
        """

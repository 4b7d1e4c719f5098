"""A shell on a node: what every transport (docker, netns, pod) offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How one script ended on a node."""

    exit_code: int
    stdout: str
    stderr: str


class NodeStream(Iterator[str], Protocol):
    """The output lines of a script that still runs (without their newlines), and its stdin.

    Iterating raises `Unreachable` when the node can't be entered, or when the stream's time is up.
    """

    def send(self, text: str) -> None:
        """Feed `text` to the script and close its stdin: what is said last, and once."""


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

    def stream(self, script: str, *, timeout_s: float | None = None) -> AbstractContextManager[NodeStream]:
        """Run a long `script` and yield its output lines as they come, for at most `timeout_s`.

        The script's stdin stays open while the context lives and is closed when it is left (or its owner
        dies): a script must end on EOF of its stdin, so that nothing of ours outlives the runner.
        """
